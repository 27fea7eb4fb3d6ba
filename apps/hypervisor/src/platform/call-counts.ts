import { type BaoCall, HC_REMIO, REMIO_HYP_ASK, REMIO_HYP_NOTIFY, REMIO_HYP_READ, REMIO_HYP_WRITE } from '@remio/arch';

/** What a hypercall asked for, by position in the table of counts. */
const OPS = ['write', 'read', 'ask', 'notify', 'other', 'service'] as const;
const OTHER = 4;
const SERVICE = 5;
/** Results are small: +1 (a failed ASK), 0, and the errors down to -6. Others count as the nearest of these. */
const RESULT_MAX = 1;
const RESULT_MIN = -6;
const RESULTS = RESULT_MAX - RESULT_MIN + 1;

/** How often a hypercall was made, by what it asked for and what it was answered. */
export interface CallCount {
  /** `service`: PSCI or SBI, all of which count with result 0. */
  readonly op: (typeof OPS)[number];
  /** As the guest sees it. */
  readonly result: number;
  readonly count: number;
}

/** Hypercalls of a VM by operation and result: a table of numbers, since a call is made at every remote access. */
export class CallCounts {
  readonly #counts = new Float64Array(OPS.length * RESULTS);

  /** @param ret what the guest is answered */
  bao(call: BaoCall, ret: bigint): void {
    const result = ret === 0n ? 0 : Number(ret);
    const op = call.nr === HC_REMIO ? opOf(call.op) : OTHER;
    this.#count(op, Math.max(RESULT_MIN, Math.min(RESULT_MAX, result)));
  }

  /** An ASK that the VM's runtime answered from a lease. */
  leasedAsk(): void {
    this.#count(Number(REMIO_HYP_ASK), 0);
  }

  service(): void {
    this.#count(SERVICE, 0);
  }

  /** Those that were made at all. */
  list(): readonly CallCount[] {
    return OPS.flatMap((op, n) =>
      Array.from({ length: RESULTS }, (_, result) => ({
        op,
        result: result + RESULT_MIN,
        count: this.#counts[n * RESULTS + result] ?? 0,
      })),
    ).filter(({ count }) => count > 0);
  }

  #count(op: number, result: number): void {
    const at = op * RESULTS + result - RESULT_MIN;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
  }
}

function opOf(op: bigint): number {
  switch (op) {
    case REMIO_HYP_WRITE:
    case REMIO_HYP_READ:
    case REMIO_HYP_ASK:
    case REMIO_HYP_NOTIFY:
      return Number(op);
    default:
      return OTHER;
  }
}
