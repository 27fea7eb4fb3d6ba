import type { EventCode } from './types.js';

/** Fields of a recorded step (or of the final state) that a rule may change. */
export type ExpectField =
  | 'result'
  | 'resumed'
  | 'ret'
  | 'out'
  | 'sent'
  | 'irqs'
  | 'regs'
  | 'active'
  | 'events'
  | 'handled'
  | 'end'
  | 'init';

/** One deviation of the `hardened` profile from the reference. */
export interface Rule {
  /** Hazards of the reference that it removes (sections D.1 to D.5 of the reference's description). */
  readonly hazards: readonly string[];
  /** What `hardened` does instead, in a sentence. */
  readonly does: string;
  /** What of a recorded step may differ when the rule bites. */
  readonly affects: readonly ExpectField[];
}

/**
 * Every deviation, by name. The core names the rule in the step in which it bites, services and interrupt controllers
 * when they answer or latch; docs/hardening.md explains each.
 */
export const RULES = {
  'H-NEXT-ID': {
    hazards: ['D-01'],
    does: 'a completion with id 2^64-1 answers -1 and leaves the pending list alone',
    affects: ['ret', 'out', 'regs', 'end'],
  },
  'H-ROLE': {
    hazards: ['D-02'],
    does: 'a frontend that asks, completes or notifies on its own device is answered -1',
    affects: ['ret', 'out', 'sent', 'regs', 'events', 'end'],
  },
  'H-OP': {
    hazards: ['D-03', 'D-04'],
    does: 'a completion whose op is not the request\u2019s is answered -1, and the request stays open',
    affects: ['ret', 'out', 'sent', 'regs', 'events', 'end'],
  },
  'H-ROUTE': {
    hazards: ['D-05'],
    does: 'an access goes to the device whose window holds its address: windows are half-open',
    affects: ['result', 'resumed', 'sent', 'active', 'events', 'end'],
  },
  'H-REQUEST-ID': {
    hazards: ['D-07'],
    does: 'a request id is slot + slots x generation: an id of an earlier use of the slot is answered -1',
    affects: ['ret', 'out', 'sent', 'regs', 'events', 'end'],
  },
  'H-BOTH-ENDS': {
    hazards: ['D-08'],
    does: 'a VM that owns both ends of a device brings both up',
    affects: ['resumed', 'sent', 'result', 'active', 'events', 'end'],
  },
  'H-READ-WIDTH': {
    hazards: ['D-11'],
    does: 'a read value is cut to the access width and extended as the load says',
    // The register may be an output of a later call, or what a later store writes.
    affects: ['regs', 'out', 'end'],
  },
  'H-WRITE-WIDTH': {
    hazards: ['D-12', 'D-53'],
    does: 'a written value is cut to the access width',
    affects: ['out', 'regs', 'end'],
  },
  'H-WIDE': {
    hazards: ['D-15', 'D-16', 'D-17'],
    does: 'messages carry bind keys, request ids, interrupts and IPC events whole',
    affects: ['sent', 'irqs', 'regs', 'active', 'events', 'handled', 'end'],
  },
  'H-QUEUE': {
    hazards: ['D-13', 'D-18', 'D-19'],
    does: 'no message is dropped: a completion always has room, a notification or doorbell that has none becomes a pending bit',
    affects: ['sent', 'irqs', 'regs', 'active', 'events', 'handled', 'end'],
  },
  'H-FAULT': {
    hazards: ['D-40', 'D-41'],
    does: 'an access that no window claims, or that finds no free slot, ends as a fault in the guest; its CPU goes on',
    affects: ['events', 'active', 'end'],
  },
  'H-DEADLINE': {
    hazards: ['D-25'],
    does: 'an access that is not answered within its device\u2019s deadline ends as a fault in the guest',
    affects: ['active', 'end'],
  },
  'H-LOSS': {
    hazards: ['D-26'],
    does: 'requests of a lost backend are pending again, in order; those of a lost frontend are dropped',
    affects: ['active', 'end'],
  },
  'H-PAIRS': {
    hazards: ['D-33'],
    does: 'ends are paired per bind key: a key with one end is refused, whatever the totals are',
    affects: ['init'],
  },
  'H-POWER': {
    hazards: ['D-48'],
    does: 'PSCI tells whether a vCPU is on, off or about to be on',
    affects: [],
  },
  'H-LATCH': {
    hazards: ['D-23'],
    does: 'an interrupt whose APLIC source the guest has not configured yet waits for it',
    affects: [],
  },
} as const satisfies Readonly<Record<string, Rule>>;

/** Name of a deviation. */
export type RuleId = keyof typeof RULES;

/** Codes of events that stop a CPU; `hardened` never reports them after the machine is built. */
export const FATAL_EVENTS: ReadonlySet<EventCode> = new Set([
  'access-unclaimed',
  'access-refused',
  'completion-rejected',
]);
