import type { InterruptController } from '@remio/arch';
import {
  APLIC_IRQ_LIMIT,
  GIC_FIRST_SPI,
  GIC_IRQ_LIMIT,
  PLIC_IRQ_LIMIT,
  SUPERVISOR_SOFTWARE_INTERRUPT,
  SUPERVISOR_TIMER_INTERRUPT,
} from '@remio/arch';
import type { Path } from '../path.js';
import type { TopologySource } from '../reader.js';
import type { Repair } from '../repair.js';
import type { Topology, Vm } from '../types.js';
import { endPath } from './places.js';

/** What the reference's messages carry of an interrupt: a byte. */
export const REFERENCE_IRQ_MAX = 255;
/** Where we look for a free interrupt: behind those of the boards' own devices. */
const FIRST_CHOICE = 40;

/** Ids that a controller has: from, to. */
const idsOf = (irqc: InterruptController): readonly [number, number] => {
  switch (irqc.kind) {
    case 'gicv2':
    case 'gicv3':
      return [0, GIC_IRQ_LIMIT - 1];
    case 'plic':
      return [1, PLIC_IRQ_LIMIT - 1];
    case 'aia':
      return [1, APLIC_IRQ_LIMIT - 1];
  }
};

/** Ids that are a CPU's own: what one is, or undefined. */
function privateUse({ arch }: Topology, irq: number): string | undefined {
  if (arch === 'aarch64') {
    if (irq < 16) return 'a software-generated interrupt (SGI)';
    return irq < GIC_FIRST_SPI ? 'private to each CPU (PPI)' : undefined;
  }
  if (irq === SUPERVISOR_SOFTWARE_INTERRUPT) return 'the software interrupt of every vCPU here';
  return irq === SUPERVISOR_TIMER_INTERRUPT ? 'the timer interrupt of every vCPU here' : undefined;
}

/** An interrupt of a VM: whose it is, and where the file says so. */
interface Use {
  readonly interrupt: number;
  readonly what: string;
  readonly path: Path;
}

const usesOf = (vm: Vm): readonly Use[] => [
  ...vm.remioDevs.map((end) => ({
    interrupt: end.interrupt,
    what: end.name,
    path: endPath(vm, end, 'interrupt'),
  })),
  ...vm.ipcs.flatMap(({ index, name, interrupts }) =>
    interrupts.map((interrupt, event) => ({
      interrupt,
      what: `event ${event} of ${name}`,
      path: ['vms', vm.name, 'ipcs', index, 'interrupts', event],
    })),
  ),
];

/** Checks the interrupts that a VM's devices and IPC events have. */
export function checkInterrupts(source: TopologySource, topology: Topology, vm: Vm): void {
  const [first, last] = idsOf(topology.board.irqc);
  const owners = new Map<number, string>();
  const uses = usesOf(vm);
  const repair = freeInterrupts(topology, uses);
  const shared = topology.arch === 'aarch64' ? GIC_FIRST_SPI : first;
  for (const { interrupt, what, path } of uses) {
    const set = (): { readonly fix: string; readonly repairs: readonly Repair[] } => {
      const free = repair();
      return free === undefined
        ? { fix: `choose from ${shared} to ${last}`, repairs: [] }
        : {
            fix: `write ${free}, which is free; devices have ${shared} to ${last}`,
            repairs: [{ kind: 'set', path, value: `${free}` }],
          };
    };
    const use = privateUse(topology, interrupt);
    const other = owners.get(interrupt);
    if (interrupt < first || interrupt > last) {
      const { fix, repairs } = set();
      const message = `interrupt ${interrupt} is none of ${topology.board.name}\u2019s ${topology.board.irqc.kind.toUpperCase()}, which has ${first} to ${last}`;
      source.error('interrupt-range', path, message, fix, ...repairs);
    } else if (use !== undefined) {
      const { fix, repairs } = set();
      source.error(
        'interrupt-private',
        path,
        `interrupt ${interrupt} is ${use}: nothing else can have it`,
        fix,
        ...repairs,
      );
    } else if (other !== undefined) {
      const { fix, repairs } = set();
      source.error('interrupt-twice', path, `interrupt ${interrupt} is that of ${other} as well`, fix, ...repairs);
    } else if (interrupt > REFERENCE_IRQ_MAX) {
      const message = `the reference's messages cut interrupt ${interrupt} to ${interrupt % 256}`;
      const { fix, repairs } = set();
      const tell = topology.profile === 'reference' ? source.error.bind(source) : source.warning.bind(source);
      tell('interrupt-reference', path, message, fix, ...repairs);
    }
    if (other === undefined) owners.set(interrupt, what);
  }
}

/** Gives interrupts that no device of the VM has, one after the other; undefined when there are no more. */
function freeInterrupts(topology: Topology, uses: readonly Use[]): () => number | undefined {
  const taken = new Set(uses.map(({ interrupt }) => interrupt));
  for (const { interrupt } of topology.board.uarts) if (interrupt !== undefined) taken.add(interrupt);
  let next = FIRST_CHOICE;
  return () => {
    while (taken.has(next)) next += 1;
    if (next > REFERENCE_IRQ_MAX) return undefined;
    next += 1;
    return next - 1;
  };
}
