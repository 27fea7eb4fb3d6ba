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
  fc.record({ kind: fc.constant('cpu-on' as const), ...owner, entry: u64, argument: u64 }),
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

  it('encodes a 64-bit field in 9 bytes, however small its value', () => {
    const size = (id: bigint) =>
      encodeVmMessage({
        kind: 'records',
        session: 1,
        seq: 1,
        ack: 0,
        sentAt: 0,
        records: [{ kind: 'asked', vm: vmId(0), cpu: cpuId(0), id: requestId(id) }],
      }).length;
    expect(size(0n)).toBe(size(2n ** 64n - 1n));
  });
});

describe('C16: whatever arrives, the answer is a message or what is wrong', () => {
  const pack = (value: unknown) => new Packr({ useRecords: false }).pack(value);
  const asked = [MESSAGE.RECORDS, 1, 1, 0, 0, 7, 0, 0, 5n];

  it('accepts the shortest form of a 64-bit number from other encoders', () => {
    expect(decodeVmMessage(pack([...asked.slice(0, -1), 5]))).toEqual(decodeVmMessage(pack(asked)));
  });

  it.each([
    ['a truncated frame', pack(asked).subarray(0, -2)],
    ['trailing bytes', Buffer.concat([pack(asked), Buffer.from([1])])],
    ['no array', pack({ type: 4 })],
    ['an empty array', pack([])],
    ['an unknown type', pack([99])],
    ['a wrong arity', pack([MESSAGE.WELCOME, 1])],
    ['a missing field', pack(asked.slice(0, -1))],
    ['a negative id', pack([...asked.slice(0, -1), -1n])],
    ['a fraction', pack([...asked.slice(0, -1), 1.5])],
    ['an unknown record', pack([MESSAGE.RECORDS, 1, 1, 0, 0, 77, 0, 0])],
    ['a record of the other direction', pack([MESSAGE.RECORDS, 1, 1, 0, 0, 36, 0, 0, 5])],
    ['a text for a number', pack([MESSAGE.RECORDS, 'x', 1, 0, 0])],
    ['claims that are no names', pack([MESSAGE.HELLO, 1, 'd', [1]])],
    ['200 000 nested arrays', Buffer.alloc(200_000, 0x91)],
    ['no bytes at all', Buffer.alloc(0)],
  ])('%s', (_, bytes) => {
    expect(decodeVmMessage(bytes)).toMatchObject({ ok: false, error: expect.any(String) });
    expect(decodeVmMessage(pack(asked))).toMatchObject({ ok: true });
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
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void decodeVmMessage(bytes)),
      { numRuns: 2000 },
    );
  });
});
