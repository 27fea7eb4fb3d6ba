import { describe, expect, it } from 'vitest';
import { setAt } from './topology-path.js';

const TOPOLOGY = {
  board: 'zcu104',
  vms: {
    back: { cpus: 1n, remio_devs: [{ name: 'disk0', type: 'backend', device: { type: 'block' } }] },
    front0: { cpus: 1n, remio_devs: [{ name: 'disk0', type: 'frontend', ring: { packed: true } }] },
    front1: { cpus: 2n },
  },
};

/** The value at every place that was set, and those places. */
const placesOf = (path: string, value: unknown = 7n): readonly string[] => {
  const result = setAt(TOPOLOGY, path, value);
  return result.ok ? result.places.map((place) => place.join('.')) : [];
};

describe('a path into a topology', () => {
  it.each([
    ['board', ['board']],
    ['profile', ['profile']],
    ['vms.back.cpus', ['vms.back.cpus']],
    ['vms.front*.cpus', ['vms.front0.cpus', 'vms.front1.cpus']],
    ['vms.*.remio_devs.disk0.vcpu', ['vms.back.remio_devs.0.vcpu', 'vms.front0.remio_devs.0.vcpu']],
    ['vms.back.remio_devs.0.vcpu', ['vms.back.remio_devs.0.vcpu']],
    ['vms.*.remio_devs.*.ring.packed', ['vms.back.remio_devs.0.ring.packed', 'vms.front0.remio_devs.0.ring.packed']],
    ['vms.*.remio_devs.*.device.queues', ['vms.back.remio_devs.0.device.queues']],
    ['costs.trap_entry', ['costs.trap_entry']],
  ])('%s leads to %j', (path, places) => {
    expect(placesOf(path)).toEqual(places);
  });

  it('changes what it leads to, and nothing else', () => {
    const before = structuredClone(TOPOLOGY);
    const result = setAt(TOPOLOGY, 'vms.front*.remio_devs.*.ring.event_idx', false);
    expect(TOPOLOGY).toEqual(before);
    expect(result).toMatchObject({
      ok: true,
      data: {
        ...before,
        vms: {
          back: before.vms.back,
          front0: {
            cpus: 1n,
            remio_devs: [{ ...before.vms.front0.remio_devs[0], ring: { packed: true, event_idx: false } }],
          },
          front1: before.vms.front1,
        },
      },
    });
  });

  it.each([
    ['vms.bakc.cpus', { step: 'bakc', under: 'vms', there: ['back', 'front0', 'front1'] }],
    ['vms.back.remio_devs.disk1.vcpu', { step: 'disk1', under: 'vms.back.remio_devs', there: ['disk0'] }],
    ['vms.back.remio_devs.1.vcpu', { step: '1', under: 'vms.back.remio_devs' }],
    ['vms.back.program.options.size', { step: 'program', under: 'vms.back' }],
    ['shared_memories.ram.size', { step: 'shared_memories', under: '' }],
    ['board.cpus', { step: 'cpus', under: 'board' }],
    ['vms.*.remio_devs.*.ring.q*', { step: 'q*' }],
    ['', { step: '' }],
    ['vms..cpus', { step: '', under: 'vms' }],
  ])('%s leads nowhere, and it is said where it ends', (path, where) => {
    expect(setAt(TOPOLOGY, path, 1n)).toMatchObject({ ok: false, ...where });
  });
});
