import { bindKey, guestAddress, irqId, vmId } from '@remio/base';
import { Scrape } from '@remio/metrics';
import type { RemioDev, Vm } from '@remio/topology';
import { describe, expect, it } from 'vitest';
import { VmMetrics } from './vm-metrics.js';

const end = (name: string, type: 'frontend' | 'backend'): RemioDev => ({
  dm: 0,
  name,
  type,
  bindKey: bindKey(0n),
  window: { base: guestAddress(0n), size: 0x200 },
  interrupt: irqId(40),
  shmem: { id: 0, base: guestAddress(0n), size: 4096 },
  ring: 0n,
  queueVcpus: [],
  ...(type === 'frontend' ? { driver: { type: 'probe' } } : {}),
});
const vm = (name: string, program: string, ...remioDevs: readonly RemioDev[]): Vm => ({
  id: vmId(0),
  name,
  cpus: [],
  memory: [],
  remioDevs,
  ipcs: [],
  program: { kind: 'builtin', name: program, options: {} },
});
const textOf = (metrics: VmMetrics): Promise<string> => {
  const scrape = new Scrape(false);
  metrics.collect(scrape);
  return scrape.text();
};

describe('what the VMs of a process tell', () => {
  it('a frontend is ready when every driver is up, and not when one has failed', () => {
    const metrics = new VmMetrics([vm('guest', 'drivers', end('disk', 'frontend'), end('net', 'frontend'))]);
    expect(metrics.notReady()).toMatch(/disk/);
    metrics.report('guest', { kind: 'driver-up', device: 'disk' });
    expect(metrics.notReady()).toMatch(/net/);
    metrics.report('guest', { kind: 'station', device: 'net' });
    expect(metrics.notReady()).toBeUndefined();
    metrics.report('guest', { kind: 'driver-failed', device: 'disk', reason: 'a fault' });
    expect(metrics.notReady()).toMatch(/disk .*failed/);
    metrics.report('guest', { kind: 'driver-up', device: 'disk' });
    expect(metrics.notReady()).toBeUndefined();
  });

  it('a backend is ready when it serves', () => {
    const metrics = new VmMetrics([vm('backend', 'dispatcher', end('disk', 'backend'))]);
    expect(metrics.notReady()).toMatch(/backend/);
    metrics.report('backend', { kind: 'serving', devices: ['disk'] });
    expect(metrics.notReady()).toBeUndefined();
  });

  it('sums what drivers verified, over all their runs; a run with anything wrong is no good run', async () => {
    const metrics = new VmMetrics([vm('guest', 'drivers', end('disk', 'frontend'))]);
    const run = { kind: 'blk-verify', device: 'disk', verifiedBytes: 4096, mismatches: 0, failed: 0 };
    metrics.report('guest', run);
    metrics.report('guest', { ...run, mismatches: 2, failed: 1 });
    const text = await textOf(metrics);
    expect(text).toContain('remio_verified_bytes_total{vm="guest",device="disk"} 8192');
    expect(text).toContain('remio_verified_rounds_total{vm="guest",device="disk"} 1');
    expect(text).toContain('remio_mismatches_total{vm="guest",device="disk"} 2');
    expect(text).toContain('remio_io_errors_total{vm="guest",device="disk"} 1');
    expect(text).toContain('remio_driver_up{vm="guest",device="disk"} 1');
  });

  it("shows a backend's newest counters by device and queue", async () => {
    const metrics = new VmMetrics([vm('backend', 'dispatcher', end('disk', 'backend'))]);
    const queue = { notifications: 3, requests: 9, readBytes: 512, latched: 1, unknown: 7, inFlight: 2 };
    metrics.report('backend', { kind: 'counters', device: 'disk', queues: [{ requests: 1 }] });
    metrics.report('backend', {
      kind: 'counters',
      device: 'disk',
      needsReset: true,
      queues: [queue],
      model: { lost: 4 },
    });
    const text = await textOf(metrics);
    const at = '{vm="backend",device="disk",queue="0"}';
    expect(text).toContain(`remio_queue_chains_total${at} 9`);
    expect(text).toContain(`remio_queue_latched_total${at} 1`);
    expect(text).toContain(`remio_queue_depth${at} 2`);
    expect(text).toContain('remio_device_needs_reset{vm="backend",device="disk"} 1');
    expect(text).toContain('remio_device_model_total{vm="backend",device="disk",counter="lost"} 4');
    expect(text).not.toContain('unknown');
  });

  it('takes whatever a program reports', async () => {
    const metrics = new VmMetrics([vm('backend', 'dispatcher', end('disk', 'backend'))]);
    for (const queues of [undefined, null, 7, [null, 'x', { requests: 'many', toString: -1, __proto__: 5 }]]) {
      metrics.report('backend', { kind: 'counters', device: 'disk', queues, model: queues, resets: -5 });
      metrics.report('backend', { kind: 'odd', device: 'disk', verifiedBytes: Number.NaN, failed: 'x' });
      expect(await textOf(metrics)).toContain('remio_device_resets_total{vm="backend",device="disk"} 0');
    }
  });
});
