import { describe, expect, it } from 'vitest';
import { type SbiOutcome, sbi } from './sbi.js';
import { VmPower } from './vm-power.js';

const ALL = 2n ** 64n - 1n;
const BASE = 0x10n;
const TIME = 0x5449_4d45n;
const IPI = 0x73_5049n;
const RFENCE = 0x5246_4e43n;
const HSM = 0x48_534dn;
const BAO = 0x0800_0ba0n;

const started = (): VmPower => {
  const power = new VmPower(3);
  power.set(0, 'on');
  return power;
};

/** A call of hart 0. */
const call = (power: VmPower, eid: bigint, fid: bigint, a0 = 0n, a1 = 0n, a2 = 0n): SbiOutcome =>
  sbi(power, 0, eid, fid, {
    arch: 'riscv64',
    conduit: 'ecall',
    pc: 0x8000_0000n,
    registers: [a0, a1, a2, 3n, 4n, 5n, fid, eid],
  });

const answers = (error: bigint, value = 0n): SbiOutcome => ({ error, value, effects: [] });

describe('SBI (2.0; B.4)', () => {
  it('BASE: the specification\u2019s version is 0.2; functions that it does not serve answer 0', () => {
    expect(call(started(), BASE, 0n)).toEqual(answers(0n, 2n));
    for (const fid of [1n, 2n, 4n, 5n, 6n, 99n]) expect(call(started(), BASE, fid)).toEqual(answers(0n, 0n));
  });

  it.each([BASE, TIME, IPI, RFENCE, HSM])('BASE: probing 0x%x answers the id itself', (eid) => {
    expect(call(started(), BASE, 3n, eid)).toEqual(answers(0n, eid));
  });

  it.each([BAO, 0x4442_434en, 0n, ALL])('BASE: probing 0x%x answers 0; Bao is not in the table (D-46)', (eid) => {
    expect(call(started(), BASE, 3n, eid)).toEqual(answers(0n, 0n));
  });

  it('TIME: set_timer arms the caller\u2019s timer, nothing else is served', () => {
    expect(call(started(), TIME, 0n, 1234n)).toEqual({
      error: 0n,
      value: 0n,
      effects: [{ kind: 'timer', vcpu: 0, deadline: 1234n }],
    });
    expect(call(started(), TIME, 1n, 1234n)).toEqual(answers(-2n));
  });

  it.each([
    ['a mask from hart 0', 0b101n, 0n, [0, 2]],
    ['a mask from hart 1', 0b11n, 1n, [1, 2]],
    ['a mask beyond the VM\u2019s harts', 0xf0n, 0n, []],
    ['a base beyond the VM\u2019s harts', 0b1n, 3n, []],
    ['base -1: every hart', 0n, ALL, [0, 1, 2]],
    ['an empty mask', 0n, 0n, []],
  ])('IPI: send_ipi to %s', (_, mask, base, harts) => {
    expect(call(started(), IPI, 0n, mask, base)).toEqual({
      error: 0n,
      value: 0n,
      effects: harts.map((vcpu) => ({ kind: 'ipi', vcpu })),
    });
    expect(call(started(), IPI, 1n, mask, base)).toEqual(answers(-2n));
  });

  it('RFENCE: fence.i and the two of sfence.vma, not those of other hypervisors', () => {
    for (const fid of [0n, 1n, 2n]) expect(call(started(), RFENCE, fid, ALL, 0n)).toEqual(answers(0n));
    for (const fid of [3n, 6n, ALL]) expect(call(started(), RFENCE, fid, ALL, 0n)).toEqual(answers(-2n));
  });

  it('HSM: hart_start starts a hart at an address, with an argument', () => {
    const power = started();
    const [entry, argument] = [0x8020_0000n, ALL];
    expect(call(power, HSM, 0n, 2n, entry, argument)).toEqual({
      error: 0n,
      value: 0n,
      effects: [{ kind: 'cpu-on', vcpu: 2, entry, argument }],
    });
    expect(power.state(2)).toBe('pending');
  });

  it('HSM: a hart that is started, or about to be, is ALREADY_AVAILABLE', () => {
    const power = started();
    call(power, HSM, 0n, 1n);
    expect(call(power, HSM, 0n, 1n)).toEqual(answers(-6n));
    power.set(1, 'on');
    expect(call(power, HSM, 0n, 1n)).toEqual(answers(-6n));
    expect(call(power, HSM, 0n, 0n)).toEqual(answers(-6n));
  });

  it.each([3n, 1n << 32n, ALL])('HSM: hart 0x%x is none of the VM: INVALID_PARAM', (hart) => {
    expect(call(started(), HSM, 0n, hart)).toEqual(answers(-3n));
    expect(call(started(), HSM, 2n, hart)).toEqual(answers(-3n));
  });

  it('HSM: hart_get_status: started 0, stopped 1, start pending 2', () => {
    const power = started();
    expect(call(power, HSM, 2n, 0n)).toEqual(answers(0n, 0n));
    expect(call(power, HSM, 2n, 1n)).toEqual(answers(0n, 1n));
    call(power, HSM, 0n, 1n);
    expect(call(power, HSM, 2n, 1n)).toEqual(answers(0n, 2n));
    power.set(1, 'on');
    expect(call(power, HSM, 2n, 1n)).toEqual(answers(0n, 0n));
  });

  it('HSM: hart_stop is not supported; hart_suspend is, for the default retentive type', () => {
    expect(call(started(), HSM, 1n)).toEqual(answers(-2n));
    expect(call(started(), HSM, 3n, 0n)).toEqual(answers(0n));
    for (const type of [1n, 0x8000_0000n, ALL]) expect(call(started(), HSM, 3n, type)).toEqual(answers(-2n));
    expect(call(started(), HSM, 4n)).toEqual(answers(-2n));
  });

  it.each([0n, 0x4442_434en, 0x0800_0ba1n, ALL])('extension 0x%x is not supported; a1 is 0 (D-46)', (eid) => {
    expect(call(started(), eid, 0n, 7n, 8n)).toEqual(answers(-2n, 0n));
  });
});
