import { type InterruptController, VIRTUAL_TIMER_PPI } from '@remio/arch';
import type { Ipc, RemioDev, Topology, Vm } from '@remio/topology';
import {
  array,
  decimal,
  expression,
  type Field,
  field,
  hexadecimal,
  type Initializer,
  numbers,
  printInitializer,
  struct,
} from './c-text.js';
import { commentText, imageNames } from './export-names.js';
import type { Path, TopologyText } from './topology-text.js';

/** CPUs that Bao's `cpumap_t` has bits for. */
export const CPUMAP_BITS = 64;

/**
 * The topology as `struct config` of Bao. Every value names the line of the topology that it came from.
 * @param assumed VMs whose memory the topology does not say
 * @param label name of the topology's file, for comments
 */
export function configText(
  topology: Topology,
  assumed: ReadonlySet<string>,
  source: TopologyText,
  label: string,
): string {
  const names = imageNames(topology);
  const at = (path: Path): string => {
    const place = `${commentText(label)}:${source.lineOf(path)}`;
    return path[2] === 'memory' && assumed.has(String(path[1])) ? `assumed: ${place} gives it no memory` : place;
  };
  const config = struct(
    field('shmemlist_size', decimal(topology.sharedMemories.length)),
    field(
      'shmemlist',
      array(
        'struct shmem',
        topology.sharedMemories.map(({ name, size, phys }) =>
          struct(
            field('size', hexadecimal(BigInt(size)), `${name}, ${at(['shared_memories', name, 'size'])}`),
            ...placement(phys, at(['shared_memories', name, 'phys'])),
          ),
        ),
      ),
    ),
    field('vmlist_size', decimal(topology.vms.length)),
    field(
      'vmlist',
      array(
        'struct vm_config',
        topology.vms.map((vm) => vmConfig(topology, vm, names[vm.id] ?? '', at)),
      ),
    ),
  );
  return [
    `/* Made by \`remio export bao\` from ${commentText(label)}: ${commentText(topology.name)}, for ${topology.board.name}.`,
    '   The comment of a value names the line that it came from. remio.yaml beside this file has what Bao cannot say. */',
    '#include <config.h>',
    '',
    '/* Directory of the images, from where make runs. */',
    '#ifndef REMIO_IMAGES',
    '#define REMIO_IMAGES images',
    '#endif',
    '',
    ...topology.vms.map((vm) => `VM_IMAGE(${names[vm.id]}, XSTR(REMIO_IMAGES/${vm.name}.bin))`),
    '',
    `struct config config = ${printInitializer(config, 0)};`,
    '',
  ].join('\n');
}

type At = (path: Path) => string;

function vmConfig(topology: Topology, vm: Vm, image: string, at: At): Initializer {
  const path: Path = ['vms', vm.name];
  const load = vm.memory[0]?.base ?? 0n;
  const loaded = at([...path, 'memory', 0, 'base']);
  return struct(
    field(
      'image',
      expression(`VM_IMAGE_BUILTIN(${image}, 0x${load.toString(16)})`),
      `${vm.name}, ${loaded}: the start of its memory`,
    ),
    field('entry', hexadecimal(load), `${loaded}: the same`),
    field('cpu_affinity', expression(cpumap(vm)), at([...path, 'cpus'])),
    field('platform', platform(topology, vm, path, at)),
  );
}

/** A mask of the VM's CPUs. Those past the reference's 64 are written as what they are, for wider maps. */
function cpumap(vm: Vm): string {
  const within = vm.cpus.filter((cpu) => cpu < CPUMAP_BITS);
  const beyond = vm.cpus.filter((cpu) => cpu >= CPUMAP_BITS);
  const mask = within.reduce((bits, cpu) => bits | (1n << BigInt(cpu)), 0n);
  const terms = [...(mask === 0n ? [] : [`0x${mask.toString(16)}`]), ...beyond.map((cpu) => `((cpumap_t)1 << ${cpu})`)];
  return terms.length === 0 ? '0' : terms.join(' | ');
}

function platform(topology: Topology, vm: Vm, path: Path, at: At): Initializer {
  const fields: Field[] = [
    field('cpu_num', decimal(vm.cpus.length), at([...path, 'cpus'])),
    field('region_num', decimal(vm.memory.length)),
    field(
      'regions',
      array(
        'struct vm_mem_region',
        vm.memory.map(({ base, size, phys }, n) =>
          struct(
            field('base', hexadecimal(base), at([...path, 'memory', n, 'base'])),
            field('size', hexadecimal(BigInt(size)), at([...path, 'memory', n, 'size'])),
            ...placement(phys, at([...path, 'memory', n, 'phys'])),
          ),
        ),
      ),
    ),
  ];
  if (vm.ipcs.length > 0) {
    fields.push(
      field('ipc_num', decimal(vm.ipcs.length)),
      field(
        'ipcs',
        array(
          'struct ipc',
          vm.ipcs.map((ipc) => ipcObject(ipc, [...path, 'ipcs', ipc.index], at)),
        ),
      ),
    );
  }
  if (topology.arch === 'aarch64') {
    const timer = struct(
      field('interrupt_num', decimal(1)),
      field('interrupts', numbers('irqid_t', [VIRTUAL_TIMER_PPI]), 'the virtual timer, which every VM has'),
    );
    fields.push(field('dev_num', decimal(1)), field('devs', array('struct vm_dev_region', [timer])));
  }
  if (vm.remioDevs.length > 0) {
    fields.push(
      field('remio_dev_num', decimal(vm.remioDevs.length)),
      field(
        'remio_devs',
        array(
          'struct remio_dev',
          vm.remioDevs.map((end) => remioDev(end, [...path, 'remio_devs', end.dm], at)),
        ),
      ),
    );
  }
  fields.push(field('arch', struct(...controller(topology.board.irqc)), `of ${topology.board.name}, ${at(['board'])}`));
  return struct(...fields);
}

function ipcObject(ipc: Ipc, path: Path, at: At): Initializer {
  return struct(
    field('base', hexadecimal(ipc.shmem.base), at([...path, 'base'])),
    field('size', hexadecimal(BigInt(ipc.size)), at([...path, 'size'])),
    field('shmem_id', decimal(ipc.shmem.id), `${ipc.name}, ${at([...path, 'memory'])}`),
    field('interrupt_num', decimal(ipc.interrupts.length)),
    ...(ipc.interrupts.length === 0
      ? []
      : [field('interrupts', numbers('irqid_t', ipc.interrupts), at([...path, 'interrupts']))]),
  );
}

/** Where in the board's RAM memory lies; absent: Bao finds room. */
const placement = (phys: bigint | undefined, comment: string): readonly Field[] =>
  phys === undefined ? [] : [field('place_phys', expression('true')), field('phys', hexadecimal(phys), comment)];

function remioDev(end: RemioDev, path: Path, at: At): Initializer {
  const window =
    end.type === 'frontend'
      ? [
          field('va', hexadecimal(end.window.base), at([...path, 'window', 'base'])),
          field('size', hexadecimal(BigInt(end.window.size)), at([...path, 'window', 'size'])),
        ]
      : [];
  return struct(
    ...window,
    field('interrupt', decimal(end.interrupt), at([...path, 'interrupt'])),
    field('bind_key', literal(end.bindKey), `${end.name}, ${at([...path, 'bind_key'])}`),
    field(
      'type',
      expression(end.type === 'frontend' ? 'REMIO_DEV_FRONTEND' : 'REMIO_DEV_BACKEND'),
      at([...path, 'type']),
    ),
    field(
      'shmem',
      struct(
        field('base', hexadecimal(end.shmem.base), at([...path, 'shmem', 'base'])),
        field('size', hexadecimal(BigInt(end.shmem.size)), 'all of it'),
        field('shmem_id', decimal(end.shmem.id), at([...path, 'shmem', 'memory'])),
      ),
    ),
  );
}

/** Decimal, but hexadecimal where C has no signed type for a decimal number. */
const literal = (value: bigint): Initializer => (value < 1n << 63n ? decimal(value) : hexadecimal(value));

/** Where the guest sees its interrupt controller. */
function controller(irqc: InterruptController): readonly Field[] {
  switch (irqc.kind) {
    case 'gicv2':
      return [
        field('gic', struct(field('gicd_addr', hexadecimal(irqc.gicd)), field('gicc_addr', hexadecimal(irqc.gicc)))),
      ];
    case 'gicv3':
      return [
        field('gic', struct(field('gicd_addr', hexadecimal(irqc.gicd)), field('gicr_addr', hexadecimal(irqc.gicr)))),
      ];
    case 'plic':
      return [field('irqc', struct(field('plic', struct(field('base', hexadecimal(irqc.base))))))];
    case 'aia': {
      const aplic = field('aplic', struct(field('base', hexadecimal(irqc.aplic))));
      const imsic = field('imsic', struct(field('base', hexadecimal(irqc.imsic))));
      return [field('irqc', struct(field('aia', struct(aplic, imsic))))];
    }
  }
}
