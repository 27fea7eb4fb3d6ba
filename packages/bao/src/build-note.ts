import type { Topology } from '@remio/topology';
import { hostNeeds } from './export-device-model.js';
import type { TopologyText } from './topology-text.js';

/** What to do with the files of an export. */
export function buildNote(topology: Topology, source: TopologyText, label: string): string {
  const { board, vms } = topology;
  const backends = vms.filter((vm) => vm.remioDevs.some(({ type }) => type === 'backend'));
  const prefix = topology.arch === 'riscv64' ? 'riscv64-unknown-elf-' : 'aarch64-none-elf-';
  const irqc = board.irqc.kind === 'plic' ? ' IRQC=PLIC' : '';
  return [
    `<!-- Made by \`remio export bao\` from ${label} -->`,
    `# Building ${topology.name.replace(/[\r\n]+/g, ' ')} for ${board.name}`,
    '',
    '1. Put an image of every VM into a directory, under these names:',
    '',
    ...vms.map((vm) => `   - \`${vm.name}.bin\`, linked or loaded at 0x${(vm.memory[0]?.base ?? 0n).toString(16)}`),
    '',
    '2. Compile the device trees of those VMs that run Linux, and give each to its image as its kernel or loader wants it:',
    '',
    '   ```sh',
    ...vms.map((vm) => `   dtc -I dts -O dtb -o ${vm.name}.dtb ${vm.name}.dts`),
    '   ```',
    '',
    '   `NAME.dtsi` alone has the nodes of Remote I/O, for a tree that you have already.',
    '   Linux frontends need CONFIG_VIRTIO_MMIO, CONFIG_DMA_RESTRICTED_POOL and the drivers of their devices.',
    '',
    '3. Build Bao with this directory, `NAME` under `..`, as its configuration:',
    '',
    '   ```sh',
    `   make PLATFORM=${board.name} CONFIG_REPO=.. CONFIG=NAME CPPFLAGS=-DREMIO_IMAGES=/path/to/images${irqc} CROSS_COMPILE=${prefix}`,
    '   ```',
    ...(backends.length === 0
      ? []
      : [
          '',
          '4. In every VM that serves devices, load `bao_iodispatcher.ko` and start the device model:',
          '',
          '   ```sh',
          ...backends.map((vm) => `   bao-virtio-dm --config ${vm.name}.devices.yaml    # in ${vm.name}`),
          '   ```',
          ...backends.flatMap((vm) => {
            const needs = hostNeeds(vm, source.raw);
            return needs.length === 0 ? [] : ['', `   ${vm.name} needs:`, '', ...needs.map((need) => `   - ${need}`)];
          }),
        ]),
    '',
  ].join('\n');
}
