import type { BoardProfile } from './types.js';

/** Where a figure comes from: measured and published by somebody, or judged by us. */
export type Basis = 'published' | 'estimate';

/** What something costs, and why we say so. */
export interface CostFigure {
  /** CPU cycles; of `clock_hz`, cycles a second. */
  readonly value: number;
  readonly basis: Basis;
  readonly source: string;
  /** What the figure is the cost of, for people. */
  readonly of: string;
}

const NOTES = 'starting value for a Cortex-A53 at 1.2 GHz, beside the comparables of docs/experiments.md';
const estimate = (value: number, of: string, source: string = NOTES): CostFigure => ({
  value,
  basis: 'estimate',
  source,
  of,
});

/**
 * What the steps of Remote I/O cost on a Cortex-A53, in cycles. No latency of Remote I/O has been published: every
 * figure is an estimate, made so that the sums agree with what was published of parts (docs/experiments.md).
 */
const CORTEX_A53 = {
  trap_entry: estimate(400, 'a load or store that traps, until the hypervisor has decoded it; two thirds of 0.5 us'),
  trap_exit: estimate(200, 'back from a trap into the guest; one third of 0.5 us'),
  hypercall: estimate(360, 'a hypercall into the hypervisor and back, without what it does there; 0.3 us'),
  core_step: estimate(
    190,
    'remio’s own work for a trap or hypercall: lists, pool, locks',
    'the reference’s C core took 191 ns for the three steps of a round trip on an x86-64 at about 3 GHz',
  ),
  ipi_send: estimate(60, 'writing the register that interrupts another CPU', 'a write to the interrupt controller'),
  ipi_latency: estimate(600, 'from there to the first instruction of the other CPU’s handler; 0.5 us'),
  ipi_handler: estimate(240, 'the handler in the hypervisor: taking the message off its queue, and leaving'),
  inject: estimate(240, 'making an interrupt pending for a vCPU, until its vector runs; one third of 0.6 us'),
  guest_interrupt: estimate(480, 'the guest’s own way into its handler and out of it; two thirds of 0.6 us'),
  wake_wfi: estimate(360, 'a CPU leaves WFI; 0.3 us'),
  wake_firmware: estimate(4200, 'a CPU leaves a standby that firmware manages; 2 to 5 us'),
  backend_interrupt: estimate(
    12_000,
    'in a backend: from its interrupt handler to what serves requests (work queue, thread); 5 to 15 us',
  ),
  register_access: estimate(
    24_000,
    'in a backend: one register access served by the device model in user space; 20 to 60 us with the wake-up',
  ),
  queue_notify: estimate(2400, 'in a backend: a notification of a queue reaches the device model (eventfd); 2 us'),
  backend_notify: estimate(2400, 'in a backend: the device model asks its kernel to interrupt the frontend; 2 us'),
  device_request: estimate(6000, 'in a backend: one request of a virtqueue, from its chain to its answer; 5 us'),
  ring_look: estimate(300, 'a look at a ring in which nothing is', 'a few cache misses of about 60 ns'),
  driver_request: estimate(6000, 'in a frontend: a request through file system, block layer and driver; 5 us'),
  copied_byte: estimate(0.5, 'copying a byte between buffers', '2.4 GB/s at 1.2 GHz, as memcpy reaches on such cores'),
} as const satisfies Readonly<Record<string, CostFigure>>;

/** Names of costs, as `costs:` of a topology has them. */
export type CostName = keyof typeof CORTEX_A53;

/** Every cost that there is, in the order in which an access meets them. */
export const COST_NAMES = Object.keys(CORTEX_A53) as readonly CostName[];

/** Costs that a user measured: in cycles, and the clock that they were measured at. */
export type CostOverrides = { readonly [K in CostName | 'clock_hz']?: number };

/** What everything costs on a board. */
export interface CostModel {
  readonly clock: CostFigure;
  readonly figures: Readonly<Record<CostName, CostFigure>>;
  /** How a paused vCPU's CPU stands by. */
  readonly standby: BoardProfile['standby'];
}

/** Clock that is assumed where a board has none of its own: that of the boards that figures are best known of. */
const ASSUMED_HZ = { aarch64: 1_200_000_000, riscv64: 1_500_000_000 } as const;

const carriedOver = (figure: CostFigure, core: string): CostFigure => ({
  ...figure,
  source: `carried over from Cortex-A53 to ${core}: ${figure.source}`,
});

/**
 * The cost model of a board.
 * @param overrides what a user measured; basis and source say so
 */
export function costModel(board: BoardProfile, overrides: CostOverrides = {}): CostModel {
  const core = board.cpus[0]?.core ?? 'an unknown core';
  const measured = (figure: CostFigure, value: number | undefined): CostFigure =>
    value === undefined ? figure : { ...figure, value, source: '`costs` of the topology' };
  const clock: CostFigure =
    board.clockHz === undefined
      ? estimate(ASSUMED_HZ[board.arch], 'cycles a second', `${board.name} has no clock of its own; assumed`)
      : { value: board.clockHz, basis: 'published', source: `docs/boards.md: ${board.name}`, of: 'cycles a second' };
  const figures = Object.fromEntries(
    COST_NAMES.map((name) => {
      const figure: CostFigure = CORTEX_A53[name];
      return [name, measured(core === 'cortex-a53' ? figure : carriedOver(figure, core), overrides[name])];
    }),
  ) as Record<CostName, CostFigure>;
  return { clock: measured(clock, overrides.clock_hz), figures, standby: board.standby };
}

/** Whole nanoseconds of so many units of a cost; the same on every machine. */
export const nanosecondsOf = (model: CostModel, name: CostName, amount = 1): number =>
  Math.round((model.figures[name].value * amount * 1e9) / model.clock.value);
