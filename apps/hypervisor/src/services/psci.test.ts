import type { HypercallFrame } from '@remio/arch';
import { describe, expect, it } from 'vitest';
import type { Profile } from '../remio/index.js';
import { type PsciOutcome, psci } from './psci.js';
import { VmPower } from './vm-power.js';

const PROFILES: readonly Profile[] = ['reference', 'hardened'];

/** Three vCPUs, the first of them on. */
const started = (): VmPower => {
  const power = new VmPower(3);
  power.set(0, 'on');
  return power;
};

/** A call of vCPU 0 with x0..x3; what follows are registers that do not count. */
const call = (power: VmPower, profile: Profile, x0: bigint, x1 = 0n, x2 = 0n, x3 = 0n): PsciOutcome => {
  const registers = [x0, x1, x2, x3, 4n, 5n, 6n];
  const frame: HypercallFrame = { arch: 'aarch64', conduit: 'hvc', pc: 0x8000_0004n, registers };
  return psci(power, profile, 0, x0, frame);
};

describe.each(PROFILES)('PSCI (DEN 0022; B.2), profile %s', (profile) => {
  it.each([
    ['PSCI_VERSION is 1.1', 0x8400_0000n, 0n, 0x1_0001n],
    ['MIGRATE_INFO_TYPE: nothing to migrate', 0x8400_0006n, 0n, 2n],
    ['CPU_SUSPEND, 32-bit: stood by', 0x8400_0001n, 0n, 0n],
    ['CPU_SUSPEND, 64-bit: stood by', 0xc400_0001n, 0n, 0n],
    ['CPU_SUSPEND to powerdown degrades to standby', 0xc400_0001n, 0x1_0000n, 0n],
    ['PSCI_VERSION has no 64-bit form', 0xc400_0000n, 0n, -1n],
    ['CPU_OFF has no 64-bit form', 0xc400_0002n, 0n, -1n],
    ['MIGRATE_INFO_TYPE has no 64-bit form', 0xc400_0006n, 0n, -1n],
    ['PSCI_FEATURES has no 64-bit form', 0xc400_000an, 0x8400_0003n, -1n],
    ['MIGRATE is not served', 0x8400_0005n, 0n, -1n],
    ['MIGRATE_INFO_UP_CPU is not served', 0x8400_0007n, 0n, -1n],
    ['SYSTEM_OFF is not served', 0x8400_0008n, 0n, -1n],
    ['SYSTEM_RESET is not served', 0x8400_0009n, 0n, -1n],
    ['CPU_FREEZE is not served', 0x8400_000bn, 0n, -1n],
    ['the last id of the range is not served', 0x8400_001fn, 0n, -1n],
  ])('%s', (_, fid, x1, result) => {
    expect(call(started(), profile, fid, x1)).toEqual({ result, effects: [] });
  });

  it.each([
    [0x8400_0000n, 0n],
    [0x8400_0001n, 0n],
    [0xc400_0001n, 0n],
    [0x8400_0002n, 0n],
    [0x8400_0003n, 0n],
    [0xc400_0003n, 0n],
    [0x8400_0004n, 0n],
    [0xc400_0004n, 0n],
    [0x8400_000an, 0n],
    [0x8400_0006n, -1n],
    [0x8000_0000n, -1n],
    [0x8400_0008n, -1n],
    [0xc400_0000n, -1n],
    [0xffff_ffff_8400_0003n, 0n],
  ])('PSCI_FEATURES of 0x%x answers %i', (fid, result) => {
    expect(call(started(), profile, 0x8400_000an, fid).result).toBe(result);
  });

  it('CPU_OFF does not return, and leaves the vCPU off', () => {
    const power = started();
    expect(call(power, profile, 0x8400_0002n)).toEqual({ result: undefined, effects: [{ kind: 'cpu-off', vcpu: 0 }] });
    expect(power.state(0)).toBe('off');
  });

  it('CPU_ON starts a vCPU at the entry point, with the context id; 64-bit', () => {
    const power = started();
    const entry = 0x1_2345_6789_0000n;
    expect(call(power, profile, 0xc400_0003n, 1n, entry, 1n << 63n)).toEqual({
      result: 0n,
      effects: [{ kind: 'cpu-on', vcpu: 1, entry, argument: 1n << 63n }],
    });
    expect(power.state(1)).toBe('pending');
  });

  it('CPU_ON by the 32-bit convention takes the low halves', () => {
    const call32 = call(started(), profile, 0x8400_0003n, 0xdead_0000_0002n, 0xbeef_8000_0000n, 0xf_0000_0007n);
    expect(call32.effects).toEqual([{ kind: 'cpu-on', vcpu: 2, entry: 0x8000_0000n, argument: 7n }]);
  });

  it.each([3n, 0x100n, 1n << 32n, 0x8000_0001n, (1n << 64n) - 1n])(
    'CPU_ON of MPIDR 0x%x, which no vCPU has: INVALID_PARAMETERS',
    (mpidr) => {
      expect(call(started(), profile, 0xc400_0003n, mpidr)).toEqual({ result: -2n, effects: [] });
    },
  );

  it('CPU_ON of a vCPU that is on, and of the caller: ALREADY_ON', () => {
    const power = started();
    power.set(1, 'on');
    expect(call(power, profile, 0xc400_0003n, 1n)).toEqual({ result: -4n, effects: [] });
    expect(call(power, profile, 0xc400_0003n, 0n)).toEqual({ result: -4n, effects: [] });
  });

  it('CPU_ON while an earlier one is under way: ON_PENDING; the reference knows no such state', () => {
    const power = started();
    call(power, profile, 0xc400_0003n, 1n);
    expect(call(power, profile, 0xc400_0003n, 1n)).toEqual(
      profile === 'reference' ? { result: -4n, effects: [] } : { result: -5n, effects: [], rule: 'H-POWER' },
    );
    power.set(1, 'on');
    expect(call(power, profile, 0xc400_0003n, 1n).result).toBe(-4n);
  });

  it('a vCPU that went off can be started again', () => {
    const power = started();
    power.set(1, 'on');
    power.set(1, 'off');
    expect(call(power, profile, 0xc400_0003n, 1n).result).toBe(0n);
  });

  it.each([0x8400_0004n, 0xc400_0004n])('AFFINITY_INFO by 0x%x; the reference answers ON, always (D-48)', (fid) => {
    const power = started();
    const on = { result: 0n, effects: [] };
    const otherwise = (result: bigint): PsciOutcome =>
      profile === 'reference' ? on : { result, effects: [], rule: 'H-POWER' };
    expect(call(power, profile, fid, 0n)).toEqual(on);
    expect(call(power, profile, fid, 1n)).toEqual(otherwise(1n));
    call(power, profile, 0xc400_0003n, 1n);
    expect(call(power, profile, fid, 1n)).toEqual(otherwise(2n));
    power.set(1, 'on');
    expect(call(power, profile, fid, 1n)).toEqual(on);
    expect(call(power, profile, fid, 7n)).toEqual(otherwise(-2n));
    // Only affinity level 0 has states of its own (5.7.1).
    expect(call(power, profile, fid, 0n, 1n)).toEqual(otherwise(-2n));
  });
});
