import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Arch } from '@remio/arch';
import { dispatcher } from '@remio/backend-vm';
import { assert } from '@remio/base';
import type { Guest, GuestProgram } from '@remio/guest';
import { guestCode, machineCode } from '@remio/guest/testing';
import { BUILTIN_PROGRAMS, loadTopology, type Topology } from '@remio/topology';
import { BlockDevice, MemoryStorage } from '@remio/virtio-device';
import { MMIO_MAGIC, MMIO_VERSION } from '@remio/virtio-spec';
import { afterAll, describe, expect, it } from 'vitest';
import { InprocEngine, type VmReport } from './index.js';

/** Real machine code in the seats of VMs, through trap, core and dispatcher, as TypeScript programs go. */

const RAM = 0x8000_0000n;
const SHMEM_SIZE = 0x10_0000;

const directory = mkdtempSync(join(tmpdir(), 'machine-code-'));
afterAll(() => rmSync(directory, { recursive: true }));

const topologyOf = (arch: Arch): Topology => {
  const file = join(directory, `${arch}.yaml`);
  writeFileSync(join(directory, 'disk.img'), sectors());
  writeFileSync(
    file,
    `board: qemu-${arch}-virt
shared_memories:
  disk0: { size: 1MiB }
vms:
  backend:
    cpus: 1
    memory: [{ base: ${RAM}, size: 1MiB }]
    program: dispatcher
    remio_devs:
      - { name: disk0, type: backend, bind_key: 0, interrupt: 40, shmem: { memory: disk0, base: 0xd0000000 }, device: { type: block, image: disk.img } }
  guest:
    cpus: 1
    memory: [{ base: ${RAM}, size: 1MiB }]
    program: idle
    remio_devs:
      - { name: disk0, type: frontend, bind_key: 0, window: { base: 0xa003e00 }, interrupt: 79, shmem: { memory: disk0, base: 0xd0000000 } }
`,
  );
  const { topology, text } = loadTopology(file, { programs: BUILTIN_PROGRAMS });
  assert(topology !== undefined, text);
  return topology;
};

/** A VM that runs the program of this name in the interpreter. */
const code = (name: string, arch: Arch): Guest => machineCode(guestCode(name, arch), RAM);

const sectors = (): Uint8Array => Uint8Array.from({ length: 8 * 512 }, (_, n) => (n * 7 + (n >> 9)) & 0xff);

/** A platform in one process, and what its VMs said. */
class Bench {
  readonly shmem = new ArrayBuffer(SHMEM_SIZE);
  readonly reports: VmReport[] = [];
  readonly logs: string[] = [];
  readonly engine: InprocEngine;

  constructor(arch: Arch, guests: Readonly<Record<'backend' | 'guest', Guest>>) {
    const engine = InprocEngine.create(
      topologyOf(arch),
      (vm) => guests[vm.name === 'backend' ? 'backend' : 'guest'],
      { report: (_, event) => this.reports.push(event), log: (_, line) => this.logs.push(line) },
      { shared: () => this.shmem },
    );
    assert(engine.ok, 'the platform is sound');
    this.engine = engine.value;
    this.engine.start();
  }

  /** Gives the host's event loop its turns until `done`. */
  async until(done: () => boolean): Promise<void> {
    for (let turn = 0; turn < 10_000 && !done(); turn += 1) await new Promise((resolve) => setImmediate(resolve));
    this.engine.stop();
    expect({ done: done(), logs: this.logs }).toEqual({ done: true, logs: [] });
  }

  word(offset: number): number {
    return new DataView(this.shmem).getUint32(offset, true);
  }
}

/** Shows the register file of `backend` what it does with reads, writes and notifications; reports what it saw. */
const registerUser: GuestProgram = async (cpu, vm) => {
  const [end] = vm.devices;
  assert(end !== undefined, 'the VM has its device');
  let interrupts = 0;
  cpu.onInterrupt(end.interrupt, () => {
    interrupts += 1;
  });
  await cpu.enableInterrupt(end.interrupt);
  const { base } = end.window;
  const seen: number[] = [];
  for (const offset of [0n, 4n, 8n, 12n]) seen.push(await cpu.load32(base + offset));
  for (let n = 0; n < 50; n += 1) await cpu.store32(base + 0x100n + BigInt(4 * (n % 8)), 0xf000_0000 + n);
  for (let n = 0; n < 8; n += 1) seen.push(await cpu.load32(base + 0x100n + BigInt(4 * n)));
  await cpu.store32(base + 0x50n, 0);
  while (interrupts === 0) await cpu.waitForInterrupt();
  vm.report({ kind: 'seen', seen, interrupts });
};

const SEEN = [MMIO_MAGIC, 2, 42, 0, ...[48, 49, 42, 43, 44, 45, 46, 47].map((n) => 0xf000_0000 + n)];

describe.each(['aarch64', 'riscv64'] as const)('machine code on %s', (arch) => {
  it('drives a block device of a TypeScript backend: reads its registers, brings it up, reads a sector by interrupt', async () => {
    const disk = sectors();
    const bench = new Bench(arch, {
      backend: dispatcher(() => Promise.resolve(new BlockDevice(new MemoryStorage(disk)))),
      guest: code('blk', arch),
    });
    await bench.until(() => bench.word(0x20) === 1);
    // MagicValue, Version, DeviceID; InterruptStatus, used index, VIRTIO_BLK_S_OK.
    expect([0, 4, 8, 12, 16, 20].map((offset) => bench.word(offset))).toEqual([MMIO_MAGIC, MMIO_VERSION, 2, 1, 1, 0]);
    expect([...new Uint8Array(bench.shmem, 0x3000, 512)]).toEqual([...disk.subarray(512, 1024)]);
    const guest = bench.engine.vm('guest');
    expect(bench.engine.platform.vmStats(guest)).toMatchObject({ interrupts: 1, faults: 0 });
    // AArch64 switches itself off by PSCI; SBI's hart_stop is not served, so RV64 sleeps.
    expect(bench.engine.platform.vmStats(guest).hypercalls).toBe(arch === 'aarch64' ? 1 : 0);
  });

  it('serves a TypeScript frontend: ASKs, completes and notifies in registers', async () => {
    const bench = new Bench(arch, { backend: code('backend', arch), guest: registerUser });
    await bench.until(() => bench.reports.some(({ kind }) => kind === 'seen'));
    expect(bench.reports.find(({ kind }) => kind === 'seen')).toEqual({ kind: 'seen', seen: SEEN, interrupts: 1 });
    const [device] = bench.engine.platform.deviceStats(bench.engine.vm('backend'));
    expect(device).toEqual({ accesses: 63, completions: 63, notifications: 1 });
  });

  it('talks to machine code at the other end, with no TypeScript between them but the platform', async () => {
    const bench = new Bench(arch, { backend: code('backend', arch), guest: code('blk', arch) });
    const [device] = bench.engine.platform.deviceStats(bench.engine.vm('backend'));
    await bench.until(() => device?.notifications === 1);
    expect([0, 4, 8].map((offset) => bench.word(offset))).toEqual([MMIO_MAGIC, 2, 42]);
  });
});
