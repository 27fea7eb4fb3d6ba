import { type Arch, type HypercallFrame, hypercallFrame, hypercallRegisters, type MmioTrap } from '@remio/arch';
import { cpuId, guestAddress, requestId, vmId } from '@remio/base';
import { encodeVmMessage, MESSAGE, PROTOCOL_VERSION, type Refusal, type VmRecord } from '@remio/protocol';
import { Packr } from 'msgpackr';
import type { HostileCase } from './catalogue.js';
import { trapOf, WINDOW } from './hypercall-machine.js';
import type { FrameLies } from './wire-peer.js';

/** VMs and CPUs of the machine, as the wire numbers them. */
const BACKEND = { vm: vmId(0), cpu: cpuId(0) } as const;
const GUEST0 = { vm: vmId(1), cpu: cpuId(2) } as const;
const GUEST0_SECOND = { vm: vmId(1), cpu: cpuId(3) } as const;
const GUEST1 = { vm: vmId(2), cpu: cpuId(4) } as const;
export const OTHER = { vm: vmId(3), cpu: cpuId(5) } as const;
export const GUEST2 = { vm: vmId(4), cpu: cpuId(6) } as const;

/** What a case knows when it makes its records. */
export interface WireContext {
  readonly arch: Arch;
  /** Request ids that leases brought, by name. */
  readonly kept: ReadonlyMap<string, bigint>;
}

/** A peer by a name of the case's own. */
type PeerName = string;

export type WireStep =
  /** A peer connects and claims VMs. */
  | { readonly do: 'attach'; readonly peer: PeerName; readonly vms: readonly string[]; readonly route?: string }
  /** A peer connects and says HELLO, and is refused for this reason. */
  | {
      readonly do: 'refused';
      readonly vms: readonly string[];
      readonly code: Refusal;
      readonly version?: number;
      readonly topology?: string;
    }
  /** A peer connects with a routing id that another peer has, and says HELLO: nobody hears it. */
  | { readonly do: 'impersonate'; readonly route: string; readonly vms: readonly string[] }
  | {
      readonly do: 'send';
      readonly peer: PeerName;
      readonly records: (context: WireContext) => readonly VmRecord[];
      readonly lies?: FrameLies;
    }
  /** Sends a frame as another peer would: with that peer's session. */
  | {
      readonly do: 'forge';
      readonly peer: PeerName;
      readonly as: PeerName;
      readonly records: (context: WireContext) => readonly VmRecord[];
    }
  | { readonly do: 'bytes'; readonly peer: PeerName; readonly bytes: Uint8Array }
  | { readonly do: 'again'; readonly peer: PeerName }
  | { readonly do: 'query'; readonly peer: PeerName; readonly what: string; readonly argument: unknown }
  | { readonly do: 'replied'; readonly peer: PeerName; readonly value: unknown }
  /** A frame from nobody: it is answered REFUSED, or not at all. */
  | { readonly do: 'stranger'; readonly bytes: Uint8Array }
  /** A record of this kind reaches the peer; a lease's id may be kept. */
  | {
      readonly do: 'hears';
      readonly peer: PeerName;
      readonly record: 'lease' | 'resume' | 'result' | 'fault' | 'cpu-on' | 'revoke';
      readonly keep?: string;
      readonly like?: object;
    }
  /** The socket is gone, without GOODBYE. */
  | { readonly do: 'vanish'; readonly peer: PeerName }
  /** A peer that never reads makes the hypervisor answer until its queue is full. */
  | {
      readonly do: 'flood';
      readonly vms: readonly string[];
      readonly record: (context: WireContext) => VmRecord;
      readonly calls: number;
    }
  /** The verdict: the peer is told why it is cut off, and its VM is lost. */
  | { readonly do: 'cut'; readonly peer: PeerName; readonly reason: RegExp }
  /** The verdict: this VM is lost. */
  | { readonly do: 'lost'; readonly vm: string; readonly reason?: RegExp };

export interface WireCase extends HostileCase {
  /** Only there: a case that takes long, and has nothing to do with the architecture. */
  readonly arch?: Arch;
  /** Steps; VMs that no step attaches have no process, but for `other` and `guest2`, which are to be left alone. */
  readonly steps: readonly WireStep[];
}

/** A load of the first register of the window, as a record. */
export const load = (arch: Arch, of: { vm: typeof GUEST0.vm; cpu: typeof GUEST0.cpu }): VmRecord => ({
  kind: 'trap',
  ...of,
  trap: loadTrap(arch),
});

const loadTrap = (arch: Arch): MmioTrap =>
  trapOf(
    arch,
    {
      address: guestAddress(WINDOW),
      width: 4,
      write: false,
      register: 3,
      value: 0n,
      signExtend: false,
      registerWidth: 8,
    },
    0n,
  );

const bao = (arch: Arch, op: bigint, id = 0n, value = 0n): HypercallFrame =>
  hypercallFrame(arch, hypercallRegisters(arch, { nr: 2n, dm: 0n, addr: 0n, op, value, id }), 0n);

/** An ASK and a READ that leases decided, as a backend's runtime tells of them. */
export const answer = (
  arch: Arch,
  of: { vm: typeof GUEST0.vm; cpu: typeof GUEST0.cpu },
  id: bigint,
  value: bigint,
): readonly VmRecord[] => [
  { kind: 'asked', ...of, id: requestId(id) },
  { kind: 'posted', ...of, frame: bao(arch, 1n, id, value) },
];

const other = (arch: Arch): Arch => (arch === 'aarch64' ? 'riscv64' : 'aarch64');
const id = ({ kept }: WireContext, name: string): bigint => kept.get(name) ?? 0n;

const attach = (peer: PeerName, ...vms: readonly string[]): WireStep => ({
  do: 'attach',
  peer,
  vms: vms.length === 0 ? [peer] : vms,
});
const send = (peer: PeerName, records: (context: WireContext) => readonly VmRecord[], lies?: FrameLies): WireStep => ({
  do: 'send',
  peer,
  records,
  ...(lies === undefined ? {} : { lies }),
});
const cut = (peer: PeerName, reason: RegExp): readonly WireStep[] => [
  { do: 'cut', peer, reason },
  { do: 'lost', vm: peer },
];
const loads = ({ arch }: WireContext): readonly VmRecord[] => [load(arch, GUEST0)];
const askRecord = ({ arch }: WireContext): VmRecord => ({ kind: 'hypercall', ...GUEST0, frame: bao(arch, 2n) });
const call = (context: WireContext): readonly VmRecord[] => [askRecord(context)];

const packr = new Packr({ useRecords: false });
const pack = (value: unknown): Buffer => packr.pack(value);

/** A frame that would be taken, if it were as it should be: an ASK of a stale id. */
const ASKED = encodeVmMessage({
  kind: 'records',
  session: 1,
  seq: 1,
  ack: 0,
  sentAt: 0,
  records: [{ kind: 'asked', ...GUEST0, id: requestId(5n) }],
});
const HEADER_BYTES = 29;

/** That frame with other bytes at some place. */
const altered = (at: number, ...bytes: readonly number[]): Buffer => {
  const copy = Buffer.from(ASKED);
  copy.set(bytes, at);
  return copy;
};

/** C16: frames that are none. */
const FRAMES: readonly (readonly [title: string, frame: Uint8Array])[] = [
  ['no bytes at all', Buffer.alloc(0)],
  ['a truncated record', ASKED.subarray(0, -2)],
  ['a truncated header', ASKED.subarray(0, HEADER_BYTES - 1)],
  ['a record too many that is not whole', Buffer.concat([ASKED, Buffer.from([1])])],
  ['an unknown record', altered(HEADER_BYTES, 77)],
  ['a record of the hypervisor', altered(HEADER_BYTES, 36)],
  ['a sequence number beyond 2^53', altered(5, 0, 0, 0, 0, 0, 0, 0x20)],
  ['an acknowledgement beyond 2^53', altered(13, 0, 0, 0, 0, 0, 0, 0xff)],
  ['more than a mebibyte of records', Buffer.concat([ASKED, Buffer.alloc(2 << 20)])],
  ['a truncated message', pack([MESSAGE.HEARTBEAT, 1, 0]).subarray(0, -1)],
  ['bytes after a message', Buffer.concat([pack([MESSAGE.HEARTBEAT, 1, 0]), Buffer.from([1])])],
  ['a map instead of an array', pack({ type: MESSAGE.HEARTBEAT })],
  ['an empty array', pack([])],
  ['an unknown type', pack([99])],
  ['a negative type', pack([-4])],
  ['a wrong arity', pack([MESSAGE.HEARTBEAT, 1])],
  ['a text where a number is due', pack([MESSAGE.HEARTBEAT, 'two', 1])],
  ['a float where a number is due', pack([MESSAGE.HEARTBEAT, 1, 2 ** 60])],
  ['a fraction', pack([MESSAGE.HEARTBEAT, 1, 1.5])],
  ['a negative number', pack([MESSAGE.HEARTBEAT, 1, -1])],
  ['not a number', pack([MESSAGE.HEARTBEAT, 1, Number.NaN])],
  ['200 000 nested arrays', Buffer.alloc(200_000, 0x91)],
  ['an array of 2^32-1 elements', Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff])],
  ['a text of 2^32-1 bytes', Buffer.from([0x92, 0x06, 0xdb, 0xff, 0xff, 0xff, 0xff])],
  ['a record definition of msgpackr', Buffer.from([0xd4, 0x72, 0x40, 0x91, 0xa1, 0x61, 0x05])],
  [
    'a report of a 96-bit number',
    Buffer.concat([reportHead(), Buffer.from([0xc7, 12, 0x42, ...Array(12).fill(0x11)])]),
  ],
  ['a report of a date', Buffer.concat([reportHead(), Buffer.from([0xd6, 0xff, 0, 0, 0, 0])])],
  ['a report that nests 100 deep', Buffer.concat([reportHead(), Buffer.alloc(100, 0x91), Buffer.from([0xc0])])],
];

/** `[REPORT, "guest0", …`: the event follows. */
function reportHead(): Buffer {
  return Buffer.concat([Buffer.from([0x93, MESSAGE.REPORT]), pack('guest0')]);
}

/** Catalogue C, wire: design decision 17. Peers may say what no hardware could, and what no program of ours does. */
export const WIRE_CASES: readonly WireCase[] = [
  {
    id: 'C13',
    title: 'a trap while a trap of the same vCPU is open',
    clause: 'design 17',
    steps: [attach('guest0'), send('guest0', loads), send('guest0', loads), ...cut('guest0', /paused by an access/)],
  },
  {
    id: 'C13',
    title: 'two traps of one vCPU in one frame',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      send('guest0', (c) => [...loads(c), ...loads(c)]),
      ...cut('guest0', /paused by an access/),
    ],
  },
  {
    id: 'C13',
    title: 'a hypercall while a trap is open',
    clause: 'design 17',
    steps: [attach('guest0'), send('guest0', loads), send('guest0', call), ...cut('guest0', /paused by an access/)],
  },
  {
    id: 'C13',
    title: 'an ASK from a lease while a trap is open',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      send('guest0', loads),
      send('guest0', () => [{ kind: 'asked', ...GUEST0, id: requestId(0n) }]),
      ...cut('guest0', /paused by an access/),
    ],
  },
  {
    id: 'C13',
    title: 'a trap of a vCPU that nobody switched on',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      send('guest0', ({ arch }) => [load(arch, GUEST0_SECOND)]),
      ...cut('guest0', /whose vCPU is off/),
    ],
  },
  {
    id: 'C13',
    title: 'a trap of another architecture',
    clause: 'design 17',
    steps: [attach('guest0'), send('guest0', ({ arch }) => [load(other(arch), GUEST0)]), ...cut('guest0', /trap$/)],
  },
  {
    id: 'C13',
    title: 'a hypercall of another architecture',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      send('guest0', ({ arch }) => [{ kind: 'hypercall', ...GUEST0, frame: bao(other(arch), 2n) }]),
      ...cut('guest0', /call$/),
    ],
  },
  {
    id: 'C14',
    title: 'a frontend disappears while its access is in the backend\u2019s hands',
    clause: 'design 6, D-26',
    steps: [
      attach('backend'),
      attach('guest0'),
      send('guest0', loads),
      { do: 'hears', peer: 'backend', record: 'lease', keep: 'lost' },
      { do: 'vanish', peer: 'guest0' },
      { do: 'lost', vm: 'guest0' },
      send('backend', (c) => answer(c.arch, BACKEND, id(c, 'lost'), 5n)),
      attach('next', 'guest0'),
      send('next', loads),
      { do: 'hears', peer: 'backend', record: 'lease', keep: 'next' },
      send('backend', (c) => answer(c.arch, BACKEND, id(c, 'next'), 6n)),
      { do: 'hears', peer: 'next', record: 'resume', like: { value: 6n } },
    ],
  },
  {
    id: 'C14',
    title: 'a backend disappears with a request in hand: the next one gets it again',
    clause: 'design 6, 16',
    steps: [
      attach('backend'),
      attach('guest0'),
      send('guest0', loads),
      { do: 'hears', peer: 'backend', record: 'lease', keep: 'old' },
      send('backend', (c) => [{ kind: 'asked', ...BACKEND, id: requestId(id(c, 'old')) }]),
      { do: 'vanish', peer: 'backend' },
      { do: 'lost', vm: 'backend' },
      attach('next', 'backend'),
      { do: 'hears', peer: 'next', record: 'lease', keep: 'new' },
      // The dead backend's id is void; the new one's is good.
      send('next', (c) => [
        ...answer(c.arch, BACKEND, id(c, 'old'), 0xbadn),
        ...answer(c.arch, BACKEND, id(c, 'new'), 6n),
      ]),
      { do: 'hears', peer: 'guest0', record: 'resume', like: { value: 6n } },
    ],
  },
  {
    id: 'C14',
    title: 'a frontend says goodbye with an access open',
    clause: 'design 6',
    steps: [
      attach('backend'),
      attach('guest0'),
      send('guest0', loads),
      { do: 'hears', peer: 'backend', record: 'lease', keep: 'lost' },
      { do: 'bytes', peer: 'guest0', bytes: pack([MESSAGE.GOODBYE, 2, 'enough']) },
      { do: 'lost', vm: 'guest0' },
      { do: 'hears', peer: 'backend', record: 'revoke' },
      // What it still says is not heard, and harms nobody.
      send('guest0', loads),
      attach('next', 'guest0'),
      { do: 'hears', peer: 'next', record: 'cpu-on' },
    ],
  },
  {
    id: 'C15',
    title: 'a second peer with the routing id of the first',
    clause: 'design 17',
    steps: [
      { do: 'attach', peer: 'guest0', vms: ['guest0'], route: 'guest0' },
      { do: 'impersonate', route: 'guest0', vms: ['guest1'] },
      send('guest0', call),
      { do: 'hears', peer: 'guest0', record: 'result' },
    ],
  },
  {
    id: 'C15',
    title: 'a record for a VM that the peer has not claimed',
    clause: 'design 17',
    steps: [
      attach('guest1'),
      attach('guest0'),
      send('guest0', ({ arch }) => [load(arch, GUEST1)]),
      ...cut('guest0', /has not claimed/),
      send('guest1', ({ arch }) => [{ kind: 'hypercall', ...GUEST1, frame: bao(arch, 2n) }]),
      { do: 'hears', peer: 'guest1', record: 'result' },
    ],
  },
  {
    id: 'C15',
    title: 'a record for a VM that there is not',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      send('guest0', ({ arch }) => [load(arch, { vm: vmId(77), cpu: GUEST0.cpu })]),
      ...cut('guest0', /has not claimed/),
    ],
  },
  {
    id: 'C15',
    title: 'a CPU of another VM',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      send('guest0', ({ arch }) => [load(arch, { vm: GUEST0.vm, cpu: GUEST1.cpu })]),
      ...cut('guest0', /is not of this VM/),
    ],
  },
  {
    id: 'C15',
    title: 'a CPU that there is not',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      send('guest0', ({ arch }) => [load(arch, { vm: GUEST0.vm, cpu: cpuId(4096) })]),
      ...cut('guest0', /is not of this VM/),
    ],
  },
  {
    id: 'C15',
    title: 'a report in another VM\u2019s name',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      {
        do: 'bytes',
        peer: 'guest0',
        bytes: encodeVmMessage({ kind: 'report', vm: 'guest2', event: { kind: 'vcpu-off' } }),
      },
      ...cut('guest0', /report of guest2/),
    ],
  },
  {
    id: 'C15',
    title: 'the session of another peer',
    clause: 'design 17',
    steps: [
      attach('guest1'),
      attach('guest0'),
      { do: 'forge', peer: 'guest0', as: 'guest1', records: () => [{ kind: 'off', ...GUEST1 }] },
      ...cut('guest0', /session/),
      send('guest1', ({ arch }) => [{ kind: 'hypercall', ...GUEST1, frame: bao(arch, 2n) }]),
      { do: 'hears', peer: 'guest1', record: 'result' },
    ],
  },
  {
    id: 'C15',
    title: 'claims of VMs that are taken, unknown, or named twice',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      { do: 'refused', vms: ['guest0'], code: 'vm-taken' },
      { do: 'refused', vms: ['guest1', 'guest0'], code: 'vm-taken' },
      { do: 'refused', vms: ['nobody'], code: 'unknown-vm' },
      { do: 'refused', vms: ['__proto__'], code: 'unknown-vm' },
      { do: 'refused', vms: ['guest1', 'guest1'], code: 'vm-taken' },
      attach('guest1'),
    ],
  },
  {
    id: 'C15',
    title: 'a second HELLO on an open session',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      {
        do: 'bytes',
        peer: 'guest0',
        bytes: encodeVmMessage({ kind: 'hello', version: PROTOCOL_VERSION, digest: '', vms: ['guest1'] }),
      },
      ...cut('guest0', /hello/),
    ],
  },
  ...FRAMES.map(
    ([title, bytes]): WireCase => ({
      id: 'C16',
      title,
      clause: 'wire protocol, Sockets and frames',
      steps: [
        { do: 'stranger', bytes },
        attach('guest0'),
        { do: 'bytes', peer: 'guest0', bytes },
        ...cut('guest0', /./),
        attach('next', 'guest0'),
      ],
    }),
  ),
  {
    id: 'C16',
    title: 'a message of the hypervisor',
    clause: 'wire protocol, Sockets and frames',
    steps: [
      attach('guest0'),
      { do: 'bytes', peer: 'guest0', bytes: pack([MESSAGE.WELCOME, 1, '', 500, 1000, 1024, 1024]) },
      ...cut('guest0', /welcome/),
    ],
  },
  {
    id: 'C16',
    title: 'an unknown version, and another topology',
    clause: 'wire protocol, Sessions',
    steps: [
      { do: 'refused', vms: ['guest0'], code: 'version', version: PROTOCOL_VERSION + 1 },
      { do: 'refused', vms: ['guest0'], code: 'version', version: 0 },
      { do: 'refused', vms: ['guest0'], code: 'topology', topology: 'another' },
    ],
  },
  {
    id: 'C16',
    title: 'queries with arguments of every shape',
    clause: 'wire protocol, Sockets and frames',
    steps: [
      { do: 'attach', peer: 'observer', vms: [] },
      ...[null, 7, 'text', [], {}, { id: 'none' }, { id: -1 }].flatMap((argument): readonly WireStep[] => [
        { do: 'query', peer: 'observer', what: 'shared-memory', argument },
        { do: 'replied', peer: 'observer', value: null },
      ]),
      { do: 'query', peer: 'observer', what: 'constructor', argument: null },
      { do: 'replied', peer: 'observer', value: { error: 'no query is called constructor' } },
    ],
  },
  {
    id: 'C17',
    title: 'a peer that never reads: its credit is used up, records wait for it up to a bound, and it is given up',
    clause: 'design 17',
    arch: 'aarch64',
    steps: [
      { do: 'flood', vms: ['guest0'], record: askRecord, calls: 20_000 },
      { do: 'lost', vm: 'guest0', reason: /acknowledges nothing/ },
      attach('next', 'guest0'),
    ],
  },
  {
    id: 'C17',
    title: 'a peer that is gone when it is to be told something',
    clause: 'design 17',
    steps: [
      attach('backend'),
      attach('guest0'),
      { do: 'vanish', peer: 'backend' },
      send('guest0', loads),
      { do: 'lost', vm: 'backend' },
      attach('next', 'backend'),
      { do: 'hears', peer: 'next', record: 'lease', keep: 'request' },
      send('next', (c) => answer(c.arch, BACKEND, id(c, 'request'), 6n)),
      { do: 'hears', peer: 'guest0', record: 'resume', like: { value: 6n } },
    ],
  },
  {
    id: 'C18',
    title: 'a frame twice',
    clause: 'wire protocol, Sessions',
    steps: [
      attach('guest0'),
      send('guest0', call),
      { do: 'again', peer: 'guest0' },
      ...cut('guest0', /frame 1 follows frame 1/),
    ],
  },
  {
    id: 'C18',
    title: 'a frame that is missing',
    clause: 'wire protocol, Sessions',
    steps: [attach('guest0'), send('guest0', call, { skip: 1 }), ...cut('guest0', /frame 2 follows frame 0/)],
  },
  {
    id: 'C18',
    title: 'a frame before its time, the one that is due after it',
    clause: 'wire protocol, Sessions',
    steps: [
      attach('guest0'),
      send('guest0', call, { skip: 1 }),
      send('guest0', call, { skip: -1 }),
      ...cut('guest0', /frame 2 follows frame 0/),
    ],
  },
  {
    id: 'C18',
    title: 'a frame number far ahead, and 0',
    clause: 'wire protocol, Sessions',
    steps: [
      attach('guest0'),
      send('guest0', call, { skip: 2 ** 40 }),
      ...cut('guest0', /follows frame 0/),
      attach('next', 'guest0'),
      send('next', call, { skip: -1 }),
      { do: 'cut', peer: 'next', reason: /frame 0 follows frame 0/ },
    ],
  },
  {
    id: 'C18',
    title: 'frames of a peer that was cut off arrive late, when its VM has another process',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      send('guest0', loads),
      send('guest0', loads),
      ...cut('guest0', /paused by an access/),
      attach('next', 'guest0'),
      send('guest0', () => [{ kind: 'off', ...GUEST0 }]),
      { do: 'again', peer: 'guest0' },
      send('next', call),
      { do: 'hears', peer: 'next', record: 'result' },
    ],
  },
  {
    id: 'C18',
    title: 'frames of an earlier session, replayed in a new one',
    clause: 'design 17',
    steps: [
      attach('guest0'),
      send('guest0', call),
      { do: 'hears', peer: 'guest0', record: 'result' },
      { do: 'vanish', peer: 'guest0' },
      { do: 'lost', vm: 'guest0' },
      attach('next', 'guest0'),
      { do: 'forge', peer: 'next', as: 'guest0', records: call },
      { do: 'cut', peer: 'next', reason: /session/ },
    ],
  },
  {
    id: 'C19',
    title: 'an observer that comes late learns what was reported before',
    clause: 'wire protocol, Sockets and frames',
    steps: [
      attach('guest0'),
      {
        do: 'bytes',
        peer: 'guest0',
        bytes: encodeVmMessage({ kind: 'report', vm: 'guest0', event: { kind: 'answer', value: 42 } }),
      },
      send('guest0', call),
      { do: 'hears', peer: 'guest0', record: 'result' },
      { do: 'attach', peer: 'late', vms: [] },
      { do: 'query', peer: 'late', what: 'reports', argument: null },
      { do: 'replied', peer: 'late', value: { guest0: { answer: { kind: 'answer', value: 42 } } } },
    ],
  },
];
