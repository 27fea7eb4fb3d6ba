import { describe, expect, it } from 'vitest';
import { VmPower } from './vm-power.js';

describe('which vCPUs are on', () => {
  it('is saved and restored', () => {
    const power = new VmPower(3);
    power.set(0, 'on');
    power.set(2, 'pending');
    const copy = new VmPower(3);
    copy.set(1, 'on');
    expect(copy.restore(JSON.parse(JSON.stringify(power.save())))).toMatchObject({ ok: true });
    expect([0, 1, 2].map((vcpu) => copy.state(vcpu))).toEqual(['on', 'off', 'pending']);
  });

  it.each([
    ['another number of vCPUs', ['on', 'off'], '3 entries'],
    ['a state that there is not', ['on', 'off', 'asleep'], '[2]'],
    ['no list', { 0: 'on' }, 'a list'],
  ])('is not restored from %s', (_, state, reason) => {
    const power = new VmPower(3);
    power.set(1, 'on');
    expect(power.restore(state)).toEqual({ ok: false, error: expect.stringContaining(reason) });
    expect(power.save()).toEqual(['off', 'on', 'off']);
  });
});
