import { describe, expect, it } from 'vitest';
import { exportOf, fileOf, topologyOfText } from '../../../test/support/topologies.js';
import { type ExportProblem, exportBao } from './index.js';

/** A backend with two disks, one of a guest each; `change` breaks it. */
const pair = (change: (text: string) => string = (text) => text): string =>
  change(`board: zcu104
shared_memories:
  a: { size: 64KiB }
  b: { size: 64KiB, phys: 0x60000000 }
vms:
  backend:
    cpus: [0]
    memory: [{ base: 0x10000000, size: 1MiB, phys: 0x10000000 }]
    remio_devs:
      - { name: a, type: backend, bind_key: 0, interrupt: 40, shmem: { memory: a, base: 0xd0000000 }, device: { type: block, image: a.img } }
      - { name: b, type: backend, bind_key: 1, interrupt: 41, shmem: { memory: b, base: 0xd1000000 }, device: { type: block, image: b.img } }
  guest-1:
    cpus: [1]
    memory: [{ base: 0x10000000, size: 1MiB }]
    remio_devs:
      - { name: a, type: frontend, bind_key: 0, interrupt: 79, window: { base: 0xa003e00 }, shmem: { memory: a, base: 0xd0000000 }, driver: { type: probe } }
      - { name: b, type: frontend, bind_key: 1, interrupt: 78, window: { base: 0xa003c00 }, shmem: { memory: b, base: 0xd1000000 }, driver: { type: probe } }
`);

const problemsOf = (text: string, wide = false): readonly ExportProblem[] => {
  const { topology, file } = topologyOfText(text);
  const exported = exportBao(topology, text, { file, label: 'test.yaml', relocate: (path) => path, wide });
  return exported.ok ? exported.value.warnings : exported.error;
};

describe('the export for Bao', () => {
  it('gives the same bytes for the same topology', () => {
    expect(exportOf(topologyOfText(pair()))).toEqual(exportOf(topologyOfText(pair())));
  });

  it('names the line of the topology that each value came from', () => {
    const config = fileOf(exportOf(topologyOfText(pair())), 'config.c');
    expect(config).toContain('.phys = 0x60000000, /* test.yaml:4 */');
    expect(config).toContain('.interrupt = 41, /* test.yaml:11 */');
    expect(config).toContain('.cpu_affinity = 0x2, /* test.yaml:13 */');
    const tree = fileOf(exportOf(topologyOfText(pair())), 'guest-1.dtsi');
    expect(tree).toContain('reg = <0x0 0xa003c00 0x0 0x200>; /* test.yaml:17 */');
  });

  it('gives the dispatcher its shared memories and interrupts by dm_id', () => {
    expect(fileOf(exportOf(topologyOfText(pair())), 'backend.dtsi')).toContain(
      [
        '\t\treg = <0x0 0xd0000000 0x0 0x10000>,',
        '\t\t\t<0x0 0xd1000000 0x0 0x10000>;',
        '\t\tinterrupt-parent = <&gic>;',
        '\t\tinterrupts = <0x0 0x8 0x1>,',
        '\t\t\t<0x0 0x9 0x1>;',
      ].join('\n'),
    );
  });

  it('tells the device model the window of its frontend', () => {
    expect(fileOf(exportOf(topologyOfText(pair())), 'backend.devices.yaml')).toContain(
      [
        '  - id: 1',
        '    type: block',
        '    mmio_addr: 0xa003c00',
        '    data_plane: virtio',
        '    file_path: b.img',
      ].join('\n'),
    );
  });

  it('lets no name of a topology end a comment', () => {
    const text = pair((given) => `name: "a */ #error\\nb"\n${given}`);
    const config = fileOf(exportOf(topologyOfText(text)), 'config.c');
    expect(config).toContain('a * / #error b');
    expect(config).not.toMatch(/^#error/m);
  });

  it('gives two VMs whose names differ in C only by what it has no letter for images of their own', () => {
    const text = pair((given) => given.replace('  backend:\n', '  guest_1:\n'));
    const config = fileOf(exportOf(topologyOfText(text)), 'config.c');
    expect(config).toContain('VM_IMAGE(guest_1_image, XSTR(REMIO_IMAGES/guest_1.bin))');
    expect(config).toContain('VM_IMAGE(guest_1_2_image, XSTR(REMIO_IMAGES/guest-1.bin))');
  });

  it.each([
    ['bao-limits', (text: string) => text.replaceAll('bind_key: 1,', 'bind_key: 256,'), 11],
    ['bao-limits', (text: string) => text.replace('interrupt: 79', 'interrupt: 300'), 16],
    ['bao-window', (text: string) => text.replace('0xa003e00', '0xa003a00'), 17],
    [
      'bao-cpus',
      (text: string) =>
        text
          .replace('zcu104', '{ name: synthetic-aarch64, cpus: 65 }')
          .replace('[1]', '[64]')
          .replace('phys: 0x10000000', 'phys: 0x50000000'),
      13,
    ],
  ] as const)('says that Bao cannot carry it: %s', (rule, change, line) => {
    expect(problemsOf(pair(change))).toContainEqual(
      expect.objectContaining({ rule, severity: 'error', place: expect.objectContaining({ line }) }),
    );
  });

  it('gives memory to a VM that has none, where nothing else of it lies, and says so', () => {
    const text = pair((given) =>
      given
        .replace(/ {4}memory: .*phys: 0x10000000 }]\n/, '')
        .replaceAll('0xd0000000', '0x10000000')
        .replace('base: 0x10000000, size: 1MiB }', 'base: 0x80000000, size: 1MiB }'),
    );
    expect(problemsOf(text)).toEqual([expect.objectContaining({ rule: 'bao-memory', severity: 'warning' })]);
    const config = fileOf(exportOf(topologyOfText(text)), 'config.c');
    expect(config).toContain('.base = 0x14000000, /* assumed: test.yaml:6 gives it no memory */');
  });

  it('takes the limits of the reference for warnings where Bao is wider', () => {
    const text = pair((given) => given.replaceAll('bind_key: 1,', 'bind_key: 256,'));
    expect(problemsOf(text, true).map(({ severity }) => severity)).toEqual(['warning', 'warning']);
  });

  it('wants backend ends before frontend ends: the dispatcher counts backends only', () => {
    const text = pair((given) =>
      given
        .replace(/( {6}- { name: a, type: backend.*\n)/, '')
        .replace(/( {6}- { name: b, type: backend.*\n)/, (end) => `${end}`)
        .replace(/( {6}- { name: b, type: frontend.*\n)/, '')
        .replace(/( {6}- { name: a, type: frontend.*\n)/, ''),
    );
    const mixed = text
      .replace(
        '    remio_devs:\n',
        '    remio_devs:\n      - { name: a, type: frontend, bind_key: 0, interrupt: 50, window: { base: 0xa003e00 }, shmem: { memory: a, base: 0xd0000000 }, driver: { type: probe } }\n',
      )
      .replace(
        /(guest-1:[\s\S]*remio_devs:\n)/,
        '$1      - { name: b, type: frontend, bind_key: 1, interrupt: 78, window: { base: 0xa003c00 }, shmem: { memory: b, base: 0xd1000000 }, driver: { type: probe } }\n      - { name: a, type: backend, bind_key: 0, interrupt: 51, shmem: { memory: a, base: 0xd0000000 }, device: { type: block, image: a.img } }\n',
      );
    expect(problemsOf(mixed).map(({ rule }) => rule)).toEqual(['bao-dispatcher', 'bao-dispatcher']);
  });

  it('names what the device model has no option for, and devices that it does not have', () => {
    const text = pair((given) =>
      given
        .replace('image: a.img }', 'image: a.img, queues: 2 }')
        .replace('{ type: block, image: b.img }', '{ type: entropy }'),
    );
    expect(problemsOf(text)).toEqual([
      expect.objectContaining({
        rule: 'bao-device-model',
        severity: 'warning',
        message: expect.stringContaining('`queues`'),
      }),
      expect.objectContaining({ message: 'bao-virtio-dm has no entropy device, which b is' }),
    ]);
  });
});
