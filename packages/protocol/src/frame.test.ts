import { cpuId, requestId, vmId } from '@remio/base';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import {
  decodeHypervisorMessage,
  decodeVmMessage,
  encodeHypervisorMessage,
  encodeVmMessage,
  type HypervisorRecord,
  MESSAGE,
  RECORDS_MARK,
  type VmRecord,
} from './index.js';

const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const small = fc.integer({ min: 0, max: 0xffff_ffff });
const owner = { vm: fc.nat(1000).map(vmId), cpu: fc.nat(4095).map(cpuId) };
const registers = (length: number) => fc.array(u64, { minLength: length, maxLength: length });
const frames = fc.oneof(
  fc.record({
    arch: fc.constant('aarch64' as const),
    conduit: fc.constantFrom('hvc' as const, 'smc' as const),
    pc: u64,
    registers: registers(7),
  }),
  fc.record({
    arch: fc.constant('riscv64' as const),
    conduit: fc.constant('ecall' as const),
    pc: u64,
    registers: registers(8),
  }),
);
const vmRecord: fc.Arbitrary<VmRecord> = fc.oneof(
  fc.record({
    kind: fc.constant('trap' as const),
    ...owner,
    trap: fc.record({ arch: fc.constant('aarch64' as const), esr: u64, far: u64, hpfar: u64, pc: u64, source: u64 }),
  }),
  fc.record({
    kind: fc.constant('trap' as const),
    ...owner,
    trap: fc.record({
      arch: fc.constant('riscv64' as const),
      scause: u64,
      stval: u64,
      htval: u64,
      htinst: u64,
      sepc: u64,
      instruction: small,
      source: u64,
    }),
  }),
  fc.record({ kind: fc.constantFrom('hypercall' as const, 'posted' as const), ...owner, frame: frames }),
  fc.record({ kind: fc.constant('asked' as const), ...owner, id: u64.map(requestId) }),
  fc.record({ kind: fc.constant('off' as const), ...owner }),
);
const hypervisorRecord: fc.Arbitrary<HypervisorRecord> = fc.oneof(
  fc.record({ kind: fc.constant('resume' as const), ...owner, register: fc.nat(255), value: u64, pc: u64 }),
  fc.record({ kind: fc.constant('fault' as const), ...owner, cause: u64, address: u64 }),
  fc.record({
    kind: fc.constant('result' as const),
    ...owner,
    pc: u64,
    registers: fc.oneof(registers(7), registers(8)),
  }),
  fc.record({
    kind: fc.constant('lease' as const),
    vm: owner.vm,
    dm: fc.nat(100),
    id: u64.map(requestId),
    addr: u64,
    op: fc.nat(1),
    value: u64,
    width: fc.constantFrom(1, 2, 4, 8),
  }),
  fc.record({ kind: fc.constant('revoke' as const), vm: owner.vm, dm: fc.nat(100), id: u64.map(requestId) }),
  fc.record({ kind: fc.constant('cpu-on' as const), ...owner, entry: u64, argument: u64, incarnation: fc.nat() }),
  fc.record({ kind: fc.constant('cpu-off' as const), ...owner, reason: fc.string() }),
  fc.record({ kind: fc.constant('timer' as const), ...owner, deadline: u64 }),
);
const counters = { session: fc.nat(), seq: fc.nat(), ack: fc.nat(), sentAt: fc.maxSafeNat() };

describe('the codec', () => {
  it('gives back every frame of a VM as it was', () => {
    fc.assert(
      fc.property(
        fc.record({
          kind: fc.constant('records' as const),
          ...counters,
          records: fc.array(vmRecord, { maxLength: 20 }),
        }),
        (frame) => {
          expect(decodeVmMessage(encodeVmMessage(frame))).toEqual({ ok: true, value: frame });
        },
      ),
    );
  });

  it('gives back every frame of the hypervisor as it was', () => {
    fc.assert(
      fc.property(
        fc.record({
          kind: fc.constant('records' as const),
          ...counters,
          records: fc.array(hypervisorRecord, { maxLength: 20 }),
        }),
        (frame) => {
          expect(decodeHypervisorMessage(encodeHypervisorMessage(frame))).toEqual({ ok: true, value: frame });
        },
      ),
    );
  });

  it('encodes records as docs/wire-protocol.md has them, byte by byte', () => {
    const frame = {
      kind: 'records',
      session: 0x0102_0304,
      seq: 2 ** 32 + 5,
      ack: 6,
      sentAt: 7,
      records: [{ kind: 'asked', vm: vmId(1), cpu: cpuId(2), id: requestId(3n) }],
    } as const;
    expect(encodeVmMessage(frame).toString('hex')).toBe(
      'c104030201050000000100000006000000000000000700000000000000' + '0701000000020000000300000000000000',
    );
  });

  it('keeps the frames of one access below the size from which ZeroMQ refers to memory instead of copying it', () => {
    const completion = (arch: 'aarch64' | 'riscv64') =>
      encodeVmMessage({
        kind: 'records',
        session: 1,
        seq: 1,
        ack: 0,
        sentAt: 1,
        records: [
          { kind: 'asked', vm: vmId(0), cpu: cpuId(0), id: requestId(0n) },
          arch === 'aarch64'
            ? {
                kind: 'posted',
                vm: vmId(0),
                cpu: cpuId(0),
                frame: { arch, conduit: 'hvc', pc: 0n, registers: Array.from({ length: 7 }, () => 0n) },
              }
            : {
                kind: 'posted',
                vm: vmId(0),
                cpu: cpuId(0),
                frame: { arch, conduit: 'ecall', pc: 0n, registers: Array.from({ length: 8 }, () => 0n) },
              },
        ],
      }).length;
    expect(completion('aarch64')).toBeLessThanOrEqual(128);
    expect(completion('riscv64')).toBeLessThanOrEqual(128);
  });

  it('gives back a claim of any VM of a kind, and what it got', () => {
    for (const message of [
      { kind: 'claim', version: 2, digest: 'd', of: 'backend' },
      { kind: 'granted', vms: ['guest0'] },
      { kind: 'challenge', nonce: Buffer.alloc(32, 9) },
      { kind: 'proof', proofs: [{ name: 'guest0', proof: Buffer.alloc(32, 8) }] },
      { kind: 'refused', code: 'none-free', reason: 'all 4 are run' },
    ] as const) {
      expect(decodeVmMessage(encodeVmMessage(message))).toEqual({ ok: true, value: message });
    }
  });

  it('cuts a reason that is too long for its field', () => {
    const decoded = decodeHypervisorMessage(
      encodeHypervisorMessage({
        kind: 'records',
        session: 1,
        seq: 1,
        ack: 0,
        sentAt: 0,
        records: [{ kind: 'cpu-off', vm: vmId(0), cpu: cpuId(0), reason: '\u{20ac}'.repeat(10_000) }],
      }),
    );
    expect(decoded).toMatchObject({
      ok: true,
      value: { records: [{ kind: 'cpu-off', reason: expect.stringMatching(/^\u{20ac}{1365}$/u) }] },
    });
  });
});

describe('C16: whatever arrives, the answer is a message or what is wrong', () => {
  const pack = (value: unknown) => new Packr({ useRecords: false }).pack(value);
  const asked = encodeVmMessage({
    kind: 'records',
    session: 1,
    seq: 1,
    ack: 0,
    sentAt: 0,
    records: [{ kind: 'asked', vm: vmId(0), cpu: cpuId(0), id: requestId(5n) }],
  });
  const HEADER_BYTES = 29;
  const altered = (at: number, ...bytes: readonly number[]) => {
    const copy = Buffer.from(asked);
    copy.set(bytes, at);
    return copy;
  };

  it.each([
    ['a truncated record', asked.subarray(0, -2)],
    ['a truncated header', asked.subarray(0, HEADER_BYTES - 1)],
    ['trailing bytes', Buffer.concat([asked, Buffer.from([1])])],
    ['a counter above 2^53-1', altered(5, 0, 0, 0, 0, 0, 0, 0x20)],
    ['an unknown record', altered(HEADER_BYTES, 77)],
    ['a record of the other direction', altered(HEADER_BYTES, 36)],
    ['a frame of 2 MiB', Buffer.concat([asked, Buffer.alloc(2 << 20)])],
    ['a truncated message', pack([MESSAGE.GOODBYE, 1, 'reason']).subarray(0, -2)],
    ['bytes after a message', Buffer.concat([pack([MESSAGE.GOODBYE, 1, 'reason']), Buffer.from([1])])],
    ['no array', pack({ type: 4 })],
    ['an empty array', pack([])],
    ['an unknown type', pack([99])],
    ['a wrong arity', pack([MESSAGE.WELCOME, 1])],
    ['a negative number', pack([MESSAGE.HEARTBEAT, -1, 0])],
    ['a fraction', pack([MESSAGE.HEARTBEAT, 1.5, 0])],
    ['a text for a number', pack([MESSAGE.HEARTBEAT, 'x', 0])],
    ['claims that are no names', pack([MESSAGE.HELLO, 1, 'd', [1]])],
    ['a claim of an unknown kind', pack([MESSAGE.CLAIM, 2, 'd', 'hypervisor'])],
    ['a grant of no names', pack([MESSAGE.GRANTED, 'guest0'])],
    ['a nonce of 31 bytes', pack([MESSAGE.CHALLENGE, Buffer.alloc(31)])],
    ['a nonce that is a text', pack([MESSAGE.CHALLENGE, 'x'.repeat(32)])],
    ['a proof of 33 bytes', pack([MESSAGE.PROOF, [['guest0', Buffer.alloc(33)]]])],
    ['a proof without a name', pack([MESSAGE.PROOF, [Buffer.alloc(32)]])],
    ['proofs that are no list', pack([MESSAGE.PROOF, 'guest0'])],
    ['200 000 nested arrays', Buffer.alloc(200_000, 0x91)],
    ['no bytes at all', Buffer.alloc(0)],
  ])('%s', (_, bytes) => {
    expect(decodeVmMessage(bytes)).toMatchObject({ ok: false, error: expect.any(String) });
    expect(decodeVmMessage(asked)).toMatchObject({ ok: true, value: { records: [{ kind: 'asked' }] } });
  });

  it('an unknown conduit', () => {
    const call = encodeVmMessage({
      kind: 'records',
      session: 1,
      seq: 1,
      ack: 0,
      sentAt: 0,
      records: [
        {
          kind: 'hypercall',
          vm: vmId(0),
          cpu: cpuId(0),
          frame: { arch: 'aarch64', conduit: 'smc', pc: 0n, registers: [0n, 0n, 0n, 0n, 0n, 0n, 0n] },
        },
      ],
    });
    call[HEADER_BYTES + 9] = 2;
    expect(decodeVmMessage(call)).toMatchObject({ ok: false, error: 'the conduit is neither HVC nor SMC' });
  });

  it('accepts numbers in whatever form other encoders choose', () => {
    expect(decodeVmMessage(pack([MESSAGE.HEARTBEAT, 1, 5n]))).toEqual(decodeVmMessage(pack([MESSAGE.HEARTBEAT, 1, 5])));
  });

  it.each([
    ['a date', new Date(0)],
    ['a set', new Set([1])],
    ['an error', new Error('no')],
    ['a regular expression', /no/],
    ['more than 64 bits', 2n ** 64n],
    ['33 nested arrays', Array.from({ length: 33 }).reduce((inner) => [inner], null)],
  ])('a report of %s is no plain value', (_, event) => {
    const bytes = new Packr({ moreTypes: true, useBigIntExtension: true }).pack([MESSAGE.REPORT, 'vm', event]);
    expect(decodeVmMessage(bytes)).toMatchObject({ ok: false, error: expect.stringContaining('a value that is') });
  });

  it('gives back what is plain', () => {
    const event = { kind: 'x', list: [null, true, -1, 1.5, 2n ** 64n - 1n, -(2n ** 63n), 'text', new Uint8Array(3)] };
    const decoded = decodeVmMessage(encodeVmMessage({ kind: 'report', vm: 'vm', event }));
    expect(decoded).toMatchObject({ ok: true, value: { vm: 'vm', event: { kind: 'x' } } });
    const list = decoded.ok && decoded.value.kind === 'report' ? (decoded.value.event as typeof event).list : [];
    expect(list.slice(0, 7)).toEqual(event.list.slice(0, 7));
    expect([...(list[7] as Uint8Array)]).toEqual([0, 0, 0]);
  });

  it('random bytes never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.boolean(), (bytes, records) => {
        if (records) bytes[0] = RECORDS_MARK;
        decodeVmMessage(bytes);
        decodeHypervisorMessage(bytes);
      }),
      { numRuns: 2000 },
    );
  });
});
