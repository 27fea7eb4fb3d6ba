import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { boardNames, isSynthetic } from '@remio/board';
import type { Topology } from '@remio/topology';
import { afterAll, describe, expect, it } from 'vitest';
import { run, skipsWithout } from '../integration/programs.js';
import { root } from '../integration/run-remio.js';
import {
  exportOf,
  isWithinLimits,
  readShipped,
  shippedTopologies,
  type TopologyOfText,
  topologyOfText,
} from '../support/topologies.js';

const skip = skipsWithout('exports through dtc, dt-validate and gcc', 'dtc', 'dt-validate', 'dt-mk-schema', 'gcc');
const scratch = mkdtempSync(join(tmpdir(), 'remio-bao-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const headers = join(root, 'test', 'fixtures', 'bao');
const bindings = join(root, 'packages', 'bao', 'bindings');

/** Exports a topology into a directory. */
function exported(from: TopologyOfText, folder: string, wide = false): void {
  mkdirSync(folder, { recursive: true });
  for (const { name: file, text } of exportOf(from, { wide }).files) writeFileSync(join(folder, file), text);
}

/** Compiles a tree; what the compiler says of it. */
async function compileTree(folder: string, vm: string): Promise<string> {
  const { code, stderr } = await run('dtc', '-O', 'dtb', '-o', join(folder, `${vm}.dtb`), join(folder, `${vm}.dts`));
  return code === 0 ? stderr : `exit code ${code}: ${stderr}`;
}

const schema = async (): Promise<string> => {
  const file = join(scratch, 'schema.json');
  const { stderr } = await run('dt-mk-schema', '-j', '-o', file, bindings);
  expect(stderr).toBe('');
  return file;
};

const hex = (value: bigint | number): string => `0x${value.toString(16)}`;

/** What VMs have that the topology gives no memory. */
const ASSUMED = [{ base: 0x1000_0000n, size: 0x400_0000, phys: undefined }];

/** What a C compiler should make of the configuration of a topology. */
const meant = ({ arch, sharedMemories, vms }: Topology): unknown => ({
  shmems: sharedMemories.map(({ size, phys }) => ({
    size: hex(size),
    ...(phys === undefined ? {} : { phys: hex(phys) }),
  })),
  vms: vms.map(({ cpus, memory: own, remioDevs, ipcs }) => {
    const memory = own.length === 0 ? ASSUMED : own;
    return {
      load: hex(memory[0]?.base ?? 0),
      entry: hex(memory[0]?.base ?? 0),
      affinity: hex(cpus.reduce((mask, cpu) => mask | (1n << BigInt(cpu)), 0n)),
      cpus: cpus.length,
      regions: memory.map(({ base, size, phys }) => ({
        base: hex(base),
        size: hex(size),
        ...(phys === undefined ? {} : { phys: hex(phys) }),
      })),
      devs: arch === 'aarch64' ? [{ size: '0x0', interrupts: [27] }] : [],
      ipcs: ipcs.map((ipc) => ({
        base: hex(ipc.shmem.base),
        size: hex(ipc.size),
        shmem_id: ipc.shmem.id,
        interrupts: ipc.interrupts,
      })),
      remio: remioDevs.map((end) => ({
        type: end.type === 'frontend' ? 0 : 1,
        va: end.type === 'frontend' ? hex(end.window.base) : '0x0',
        size: end.type === 'frontend' ? hex(end.window.size) : '0x0',
        interrupt: end.interrupt,
        bind_key: hex(end.bindKey),
        shmem_id: end.shmem.id,
        shmem_base: hex(end.shmem.base),
        shmem_size: hex(end.shmem.size),
      })),
    };
  }),
});

/** What a C compiler makes of the configuration of an export; a warning is an error. */
async function compiled(folder: string, arch: Topology['arch']): Promise<unknown> {
  const program = join(folder, 'dump');
  const gcc = await run(
    'gcc',
    ...['-std=gnu11', '-Wall', '-Wextra', '-Werror', ...(arch === 'riscv64' ? ['-DARCH_RISCV'] : [])],
    ...['-I', headers, '-o', program, join(folder, 'config.c'), join(headers, 'dump.c')],
  );
  expect(gcc).toMatchObject({ code: 0, stderr: '' });
  return JSON.parse((await run(program)).stdout);
}

/** A pair of VMs on a board, with memory where the board has some. */
const pairOn = (board: string): string => `
board: ${board}
shared_memories: { disk: { size: 64KiB } }
vms:
  backend:
    cpus: [0]
    memory: [{ base: 0x80000000, size: 1MiB }]
    remio_devs:
      - { name: disk, type: backend, bind_key: 0, interrupt: 40, shmem: { memory: disk, base: 0xd0000000 }, device: { type: block, image: disk.img } }
  guest:
    cpus: [1]
    memory: [{ base: 0x10000000, size: 1MiB }]
    remio_devs:
      - { name: disk, type: frontend, bind_key: 0, interrupt: 79, window: { base: 0xa003e00 }, shmem: { memory: disk, base: 0xd0000000 }, driver: { type: probe } }
`;

const shipped = shippedTopologies().map((file) => [basename(file), readShipped(file)] as const);
const covered = new Set(shipped.map(([, { topology }]) => topology.board.name));
const onBoards = boardNames
  .filter((name) => !isSynthetic(name) && !covered.has(name))
  .map((name) => [name, topologyOfText(pairOn(name))] as const);
const withPlic = [
  'qemu-riscv64-virt, PLIC',
  topologyOfText(pairOn('{ name: qemu-riscv64-virt, irqc: plic }')),
] as const;
const within = [...shipped.filter(([, from]) => isWithinLimits(from)), ...onBoards, withPlic].map(
  ([name, from], n) => [name, from, join(scratch, `${n}`)] as const,
);

describe.skipIf(skip)('what `remio export bao` writes', () => {
  it.each(within)('%s: a C compiler reads the values of the topology; dtc has no warning', async (_, from, folder) => {
    exported(from, folder);
    expect(await compiled(folder, from.topology.arch)).toEqual(meant(from.topology));
    const vms = from.topology.vms.map((vm) => vm.name);
    expect(await Promise.all(vms.map((vm) => compileTree(folder, vm)))).toEqual(vms.map(() => ''));
  });

  it('has trees that are as their bindings say: all of them', async () => {
    const trees = within.flatMap(([, { topology }, folder]) =>
      topology.vms.map((vm) => join(folder, `${vm.name}.dtb`)),
    );
    const { stdout, stderr } = await run('dt-validate', '-s', await schema(), ...trees);
    expect(stdout + stderr).toBe('');
  });

  it.each(shipped.filter(([, from]) => !isWithinLimits(from)))(
    '%s: is beyond the limits of the reference; its trees compile all the same',
    async (name, from) => {
      const folder = join(scratch, name);
      exported(from, folder, true);
      const vms = from.topology.vms.map((vm) => vm.name);
      for (const vm of vms) expect(await compileTree(folder, vm)).toBe('');
    },
  );

  it('is told by the bindings of what drivers would miss', async () => {
    const { files } = exportOf(topologyOfText(pairOn('zcu104')));
    const folder = join(scratch, 'broken');
    mkdirSync(folder, { recursive: true });
    for (const { name, text } of files) {
      writeFileSync(
        join(folder, name),
        text
          .replace(/\s*memory-region = .*/, '')
          .replace('<0x0 0x8 0x1>', '<0x0 0x8 0x1>, <0x0 0x9 0x1>')
          .replace(/compatible = "bao,io-dispatcher";\n\s*reg = .*/, 'compatible = "bao,io-dispatcher";'),
      );
    }
    for (const vm of ['backend', 'guest']) await compileTree(folder, vm);
    const trees = ['backend', 'guest'].map((vm) => join(folder, `${vm}.dtb`));
    const { stderr } = await run('dt-validate', '-s', await schema(), ...trees);
    expect(stderr).toContain("'memory-region' is a required property");
    expect(stderr).toContain("'reg' is a required property");
  });
});
