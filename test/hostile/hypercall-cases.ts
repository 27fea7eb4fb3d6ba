import {
  HC_E_FAILURE,
  HC_E_INVAL_ARGS,
  HC_E_INVAL_ID,
  HC_E_SUCCESS,
  HC_REMIO,
  REMIO_HYP_ASK,
  REMIO_HYP_NOTIFY,
  REMIO_HYP_READ,
  REMIO_HYP_WRITE,
} from '@remio/arch';
import { type AccessWidth, U64_MAX } from '@remio/base';
import type { HostileCase } from './catalogue.js';

/** A value for both profiles, or one for each. */
export type PerProfile<T> = T | { readonly reference: T; readonly hardened: T };

/** The machine's vCPUs: VM and position. */
export type VcpuName = 'backend.0' | 'backend.1' | 'guest0.0' | 'guest0.1' | 'guest1.0' | 'idle.0';

/** What a vCPU is after an access: waiting, told of a fault and running, or stopped for good. */
export type VcpuState = 'paused' | 'fault' | 'stopped' | 'running';

/** What a successful ASK shows. */
export interface Asked {
  readonly op?: bigint;
  readonly value?: PerProfile<bigint>;
  readonly width?: number;
  readonly more?: boolean;
}

export type HypercallStep =
  | {
      readonly do: 'access';
      readonly cpu: VcpuName;
      readonly width: AccessWidth;
      /** What a store has in its register; absent: a load. */
      readonly store?: bigint;
      readonly signed?: boolean;
      readonly becomes: PerProfile<VcpuState>;
    }
  | {
      readonly do: 'call';
      readonly cpu: VcpuName;
      readonly nr: bigint;
      readonly dm: bigint;
      readonly addr: bigint;
      readonly op: bigint;
      readonly value: bigint;
      /** A request id, or the name under which an ASK's answer was kept. */
      readonly id: bigint | string;
      readonly gives: PerProfile<bigint>;
      /** Keeps the request id that a successful ASK gave. */
      readonly keep?: string;
      readonly shows?: Asked;
    }
  /** The CPU handles its messages; only at level `core` do they wait for it. */
  | { readonly do: 'deliver'; readonly cpu: VcpuName }
  /** What a vCPU is, and what the register holds that its last access named. */
  | {
      readonly do: 'finds';
      readonly cpu: VcpuName;
      readonly state: PerProfile<VcpuState>;
      readonly register?: PerProfile<bigint>;
    }
  /** The interrupts that reached a vCPU so far. */
  | { readonly do: 'interrupts'; readonly cpu: VcpuName; readonly irqs: PerProfile<readonly number[]> };

/** What differs from the machine of {@link machineText}. */
export interface MachineChange {
  /** Bind key of guest0's device. */
  readonly key?: bigint;
  /** Interrupt of guest0's device. */
  readonly interrupt?: number;
  /** Request slots. */
  readonly slots?: number;
  /** VMs that are not up (level `core`). */
  readonly down?: readonly string[];
}

export interface HypercallCase extends HostileCase {
  /** A recorded vector in which the reference shows its behaviour, without the prefix of the architecture. */
  readonly vector?: string;
  /** `core`: needs messages that wait or VMs that are not up, which the platform never has. */
  readonly level?: 'core';
  readonly machine?: MachineChange;
  readonly steps: readonly HypercallStep[];
}

const OK = HC_E_SUCCESS;
const EMPTY = HC_E_FAILURE;
const FAILURE = -HC_E_FAILURE;
const INVAL_ID = -HC_E_INVAL_ID;
const INVAL_ARGS = -HC_E_INVAL_ARGS;

const both = <T>(reference: T, hardened: T): PerProfile<T> => ({ reference, hardened });

interface Arguments {
  readonly nr?: bigint;
  readonly dm?: bigint;
  readonly addr?: bigint;
  readonly value?: bigint;
  readonly id?: bigint | string;
  readonly keep?: string;
  readonly shows?: Asked;
}

const call = (cpu: VcpuName, op: bigint, gives: PerProfile<bigint>, more: Arguments = {}): HypercallStep => ({
  do: 'call',
  cpu,
  nr: HC_REMIO,
  dm: 0n,
  addr: 0n,
  op,
  value: 0n,
  id: 0n,
  gives,
  ...more,
});

const load = (cpu: VcpuName, becomes: PerProfile<VcpuState> = 'paused', width: AccessWidth = 4): HypercallStep => ({
  do: 'access',
  cpu,
  width,
  becomes,
});
const loadSigned = (cpu: VcpuName, width: AccessWidth): HypercallStep => ({
  do: 'access',
  cpu,
  width,
  signed: true,
  becomes: 'paused',
});
const store = (cpu: VcpuName, value: bigint, width: AccessWidth = 4): HypercallStep => ({
  do: 'access',
  cpu,
  width,
  store: value,
  becomes: 'paused',
});

const ask = (keep: string, shows: Asked = {}): HypercallStep => call('backend.0', REMIO_HYP_ASK, OK, { keep, shows });
const readDone = (id: bigint | string, value: bigint, gives: PerProfile<bigint> = OK): HypercallStep =>
  call('backend.0', REMIO_HYP_READ, gives, { id, value });
const writeDone = (id: bigint | string, gives: PerProfile<bigint> = OK): HypercallStep =>
  call('backend.0', REMIO_HYP_WRITE, gives, { id });

const finds = (cpu: VcpuName, state: PerProfile<VcpuState>, register?: PerProfile<bigint>): HypercallStep => ({
  do: 'finds',
  cpu,
  state,
  ...(register === undefined ? {} : { register }),
});
const deliver = (cpu: VcpuName): HypercallStep => ({ do: 'deliver', cpu });

/** What a vCPU's register holds that nothing wrote: the runner puts it there. */
export const UNTOUCHED = 0xa5a5_a5a5_a5a5_a5a5n;

/** Catalogue C, hypercalls: sections A.10 and B.8 of the reference; in `hardened` the codes stay, the hazards go. */
export const HYPERCALL_CASES: readonly HypercallCase[] = [
  {
    id: 'C1',
    title: 'dm_id just out of range, from either side',
    clause: 'A.10 step 1',
    vector: 'bad-selectors',
    steps: [
      load('guest0.0'),
      call('backend.0', REMIO_HYP_ASK, INVAL_ARGS, { dm: 2n }),
      call('guest0.1', REMIO_HYP_ASK, INVAL_ARGS, { dm: 1n }),
      ask('first'),
      readDone('first', 7n),
      finds('guest0.0', 'running', 7n),
    ],
  },
  {
    id: 'C1',
    title: 'dm_id that is in range only when cut to 32 or 8 bits',
    clause: 'A.10 step 1',
    vector: 'bad-selectors',
    steps: [U64_MAX, 1n << 63n, 1n << 32n, 0x100n].map((dm) => call('backend.0', REMIO_HYP_NOTIFY, INVAL_ARGS, { dm })),
  },
  {
    id: 'C1',
    title: 'a VM without devices calls',
    clause: 'A.10 step 1',
    steps: [call('idle.0', REMIO_HYP_ASK, INVAL_ARGS), call('idle.0', REMIO_HYP_NOTIFY, INVAL_ARGS)],
  },
  {
    id: 'C2',
    title: 'unknown op; all 64 bits count',
    clause: 'A.10 step 3',
    vector: 'bad-selectors',
    steps: [4n, 0x102n, (1n << 32n) | REMIO_HYP_ASK, U64_MAX].map((op) => call('backend.0', op, INVAL_ARGS)),
  },
  {
    id: 'C2',
    title: 'unknown hypercall number, and the IPC call that nothing is configured for',
    clause: 'B.8',
    vector: 'bad-selectors',
    steps: [
      call('backend.0', REMIO_HYP_ASK, INVAL_ARGS, { nr: 1n }),
      ...[0n, 3n, 7n, 0xffffn].map((nr) => call('guest0.0', REMIO_HYP_ASK, INVAL_ID, { nr })),
    ],
  },
  {
    id: 'C3',
    title: 'ASK with addr or value not zero leaves the request where it is',
    clause: 'A.10 ASK',
    vector: 'ask-empty',
    steps: [
      call('backend.0', REMIO_HYP_ASK, EMPTY),
      store('guest0.0', 0x77n),
      call('backend.0', REMIO_HYP_ASK, EMPTY, { addr: 1n }),
      call('backend.0', REMIO_HYP_ASK, EMPTY, { value: U64_MAX }),
      call('backend.0', REMIO_HYP_ASK, EMPTY, { addr: 1n << 63n, value: 1n }),
      ask('first', { op: REMIO_HYP_WRITE, value: 0x77n, width: 4, more: false }),
      writeDone('first'),
      finds('guest0.0', 'running'),
    ],
  },
  {
    id: 'C4',
    title: 'completion of a slot that is free',
    clause: 'A.12',
    vector: 'bad-ids',
    steps: [
      ...[0n, 1n, 7n, 8n, 1n << 63n, U64_MAX - 1n].map((id) => readDone(id, 1n, FAILURE)),
      load('guest0.0'),
      ask('first'),
      readDone('first', 5n),
      readDone('first', 6n, FAILURE),
      finds('guest0.0', 'running', 5n),
    ],
  },
  {
    id: 'C4',
    title: 'completion of a request that nobody asked for',
    clause: 'A.12',
    vector: 'complete-before-ask',
    steps: [
      load('guest0.0'),
      readDone(0n, 0xbadn, FAILURE),
      writeDone(0n, FAILURE),
      finds('guest0.0', 'paused'),
      ask('first'),
      readDone('first', 5n),
      finds('guest0.0', 'running', 5n),
    ],
  },
  {
    id: 'C4',
    title: 'completion of a request that is complete and not yet taken',
    clause: 'A.12',
    level: 'core',
    vector: 'double-completion',
    steps: [
      load('guest0.0'),
      ask('first'),
      readDone('first', 5n),
      readDone('first', 6n, FAILURE),
      writeDone('first', FAILURE),
      finds('guest0.0', 'paused'),
      deliver('guest0.0'),
      finds('guest0.0', 'running', 5n),
    ],
  },
  {
    id: 'C4',
    title: 'completion with id 2^64-1 pops the oldest pending request',
    clause: 'D-01',
    vector: 'next-id-loses-request',
    steps: [
      load('guest0.0'),
      load('guest0.1'),
      readDone(U64_MAX, 0xbadn, FAILURE),
      // The reference has lost the first request: its vCPU sleeps for ever.
      ask('next'),
      readDone('next', 5n),
      finds('guest0.0', both<VcpuState>('paused', 'running')),
      finds('guest0.1', both<VcpuState>('running', 'paused')),
    ],
  },
  {
    id: 'C5',
    title: 'completion by a VM that does not own the key',
    clause: 'A.10 READ',
    steps: [
      load('guest0.0'),
      ask('first'),
      call('guest1.0', REMIO_HYP_READ, FAILURE, { id: 'first', value: 0xbadn }),
      finds('guest0.0', 'paused'),
      readDone('first', 5n),
      finds('guest0.0', 'running', 5n),
    ],
  },
  {
    id: 'C5',
    title: 'completion under another device of the same backend',
    clause: 'A.10 READ',
    vector: 'foreign-request-id',
    steps: [
      load('guest0.0'),
      ask('first'),
      call('backend.0', REMIO_HYP_READ, FAILURE, { dm: 1n, id: 'first', value: 0xbadn }),
      finds('guest0.0', 'paused'),
      readDone('first', 5n),
      finds('guest0.0', 'running', 5n),
    ],
  },
  {
    id: 'C6',
    title: 'completion twice',
    clause: 'A.12',
    vector: 'double-completion',
    steps: [
      load('guest0.0'),
      ask('first'),
      readDone('first', 5n),
      readDone('first', 6n, FAILURE),
      finds('guest0.0', 'running', 5n),
    ],
  },
  {
    id: 'C6',
    title: 'completion twice, the second when the slot has another request in hand',
    clause: 'D-07',
    steps: [
      load('guest0.0'),
      ask('first'),
      readDone('first', 5n),
      load('guest0.1'),
      ask('second'),
      readDone('first', 6n, both(OK, FAILURE)),
      finds('guest0.1', both<VcpuState>('running', 'paused'), both(6n, UNTOUCHED)),
      readDone('second', 7n, both(FAILURE, OK)),
      finds('guest0.1', 'running', both(6n, 7n)),
    ],
  },
  {
    id: 'C7',
    title: 'a read completed as a write',
    clause: 'D-03',
    vector: 'read-answered-as-write',
    steps: [
      load('guest0.0'),
      ask('first', { op: REMIO_HYP_READ }),
      writeDone('first', both(OK, FAILURE)),
      finds('guest0.0', both<VcpuState>('running', 'paused'), UNTOUCHED),
      readDone('first', 5n, both(FAILURE, OK)),
      finds('guest0.0', 'running', both(UNTOUCHED, 5n)),
    ],
  },
  {
    id: 'C7',
    title: 'a write completed as a read',
    clause: 'D-04',
    vector: 'write-answered-as-read',
    steps: [
      store('guest0.0', 0x77n),
      ask('first', { op: REMIO_HYP_WRITE }),
      readDone('first', 0xbadn, both(OK, FAILURE)),
      finds('guest0.0', both<VcpuState>('running', 'paused'), both(0xbadn, 0x77n)),
      writeDone('first', both(FAILURE, OK)),
      finds('guest0.0', 'running', both(0xbadn, 0x77n)),
    ],
  },
  ...([1, 2, 4] as const).map(
    (width): HypercallCase => ({
      id: 'C8',
      title: `an answer wider than a load of ${width} bytes (D-11)`,
      clause: 'D-11',
      vector: 'no-width-mask',
      steps: [
        load('guest0.0', 'paused', width),
        ask('first', { width }),
        readDone('first', 0xffff_ffff_ffff_ff7fn),
        finds('guest0.0', 'running', both(0xffff_ffff_ffff_ff7fn, BigInt.asUintN(8 * width, -0x81n))),
      ],
    }),
  ),
  {
    id: 'C8',
    title: 'an answer wider than a signed load',
    clause: 'D-11',
    vector: 'no-width-mask',
    steps: [
      loadSigned('guest0.0', 1),
      ask('first', { width: 1 }),
      readDone('first', 0x1_0080n),
      finds('guest0.0', 'running', both(0x1_0080n, BigInt.asUintN(64, -0x80n))),
    ],
  },
  {
    id: 'C8',
    title: 'a store shows no more of its register than it is wide',
    clause: 'D-12',
    vector: 'no-width-mask',
    steps: [
      store('guest0.0', 0x1122_3344_5566_7788n, 2),
      ask('first', { width: 2, value: both(0x1122_3344_5566_7788n, 0x7788n) }),
      writeDone('first'),
      finds('guest0.0', 'running', 0x1122_3344_5566_7788n),
    ],
  },
  {
    id: 'C9',
    title: 'NOTIFY before the frontend is up',
    clause: 'D-09',
    level: 'core',
    machine: { down: ['guest0'] },
    steps: [call('backend.0', REMIO_HYP_NOTIFY, FAILURE), call('backend.0', REMIO_HYP_NOTIFY, OK, { dm: 1n })],
  },
  {
    id: 'C10',
    title: 'an interrupt above 255',
    clause: 'D-16/17',
    vector: 'irq-over-255',
    machine: { interrupt: 300 },
    steps: [
      call('backend.0', REMIO_HYP_NOTIFY, OK),
      { do: 'interrupts', cpu: 'guest0.0', irqs: both<readonly number[]>([300 % 256], [300]) },
    ],
  },
  {
    id: 'C10',
    title: 'a bind key above 255: the completion finds no device',
    clause: 'D-15',
    vector: 'key-over-255',
    machine: { key: 0x105n },
    steps: [
      load('guest0.0'),
      ask('first'),
      readDone('first', 5n),
      finds('guest0.0', both<VcpuState>('stopped', 'running'), both(UNTOUCHED, 5n)),
    ],
  },
  {
    id: 'C10',
    title: 'a bind key that is another device\u2019s when cut to a byte',
    clause: 'D-15',
    vector: 'key-alias',
    // guest1's device has key 1.
    machine: { key: 0x101n },
    steps: [
      load('guest0.0'),
      ask('first'),
      readDone('first', 5n),
      finds('guest0.0', both<VcpuState>('stopped', 'running'), both(UNTOUCHED, 5n)),
    ],
  },
  {
    id: 'C11',
    title: 'a frontend asks on its own device and steals its sibling\u2019s request',
    clause: 'D-02',
    vector: 'frontend-answers-itself',
    steps: [
      load('guest0.0'),
      call('guest0.1', REMIO_HYP_ASK, both(OK, FAILURE), { keep: 'stolen' }),
      call('backend.0', REMIO_HYP_ASK, both(EMPTY, OK), { keep: 'first' }),
    ],
  },
  {
    id: 'C11',
    title: 'a frontend completes its sibling\u2019s request',
    clause: 'D-02',
    vector: 'frontend-answers-itself',
    steps: [
      load('guest0.0'),
      ask('first'),
      call('guest0.1', REMIO_HYP_READ, both(OK, FAILURE), { id: 'first', value: 0xbadn }),
      finds('guest0.0', both<VcpuState>('running', 'paused'), both(0xbadn, UNTOUCHED)),
      readDone('first', 5n, both(FAILURE, OK)),
      finds('guest0.0', 'running', both(0xbadn, 5n)),
    ],
  },
  {
    id: 'C11',
    title: 'a frontend notifies itself, and asks where nothing is pending',
    clause: 'D-02',
    vector: 'frontend-answers-itself',
    steps: [
      call('guest0.1', REMIO_HYP_NOTIFY, both(OK, FAILURE)),
      { do: 'interrupts', cpu: 'guest0.0', irqs: both<readonly number[]>([79], []) },
      call('guest0.1', REMIO_HYP_ASK, both(EMPTY, FAILURE)),
    ],
  },
  {
    id: 'C12',
    title: 'more accesses than request slots',
    clause: 'A.4',
    vector: 'slots-exhausted',
    machine: { slots: 1 },
    steps: [
      load('guest0.0'),
      load('guest0.1', both<VcpuState>('stopped', 'fault')),
      load('guest1.0', both<VcpuState>('stopped', 'fault')),
      ask('first', { more: false }),
      readDone('first', 5n),
      finds('guest0.0', 'running', 5n),
    ],
  },
];
