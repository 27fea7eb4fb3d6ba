import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { remio, root } from './run-remio.js';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'remio-placement-'));
  writeFileSync(join(folder, 'disk.img'), new Uint8Array(4 << 20));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

interface Counts {
  readonly traps: number;
  readonly hypercalls: number;
}

interface DeviceCounts {
  readonly queues: readonly { readonly vcpu: number; readonly requests: number; readonly notifications: number }[];
  readonly vcpus: readonly { readonly notifications: number; readonly notifies: number }[];
}

/** What the hypervisor counted of each VM's vCPUs, and the backend of its device. */
interface Figures {
  readonly backend: readonly Counts[];
  readonly guest: readonly Counts[];
  readonly device: DeviceCounts;
}

async function figures(engine: 'processes' | 'inproc'): Promise<Figures> {
  const topology = join(root, 'deploy', 'topologies', 'placement.yaml');
  const image = join(folder, 'disk.img');
  const ended = await remio('up', topology, '--image', image, '--json', '--until-done', '--engine', engine);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  const line = ended.stdout.split('\n').findLast((text) => /^\{"(status|vms)"/.test(text));
  const value = JSON.parse(line ?? '{}');
  const vms: readonly { readonly name: string; readonly vcpus: readonly Counts[] }[] =
    engine === 'processes' ? value.status.vms : value.vms;
  const vcpus = (name: string): readonly Counts[] => vms.find((vm) => vm.name === name)?.vcpus ?? [];
  const device: DeviceCounts =
    engine === 'processes' ? value.reports.backend['counters:disk0'] : value.devices[0].report;
  return { backend: vcpus('backend'), guest: vcpus('guest'), device };
}

describe.each(['processes', 'inproc'] as const)('queues that a topology places, engine %s', (engine) => {
  it('are used and served by the vCPUs that it names, as the hypervisor counts them', async () => {
    const { backend, guest, device } = await figures(engine);
    expect(device.queues.map(({ vcpu }) => vcpu)).toEqual([3, 2, 1, 0]);
    const [q0 = 0, q1 = 0, q2 = 0, q3 = 0] = device.queues.map(({ notifications }) => notifications);
    for (const count of [q0, q1, q2, q3]) expect(count).toBeGreaterThan(0);
    // The guest's vCPUs but the first do nothing remote except to notify: each trap of theirs is a notification.
    expect(guest.slice(1).map(({ traps }) => traps)).toEqual([q0, q1, q2 + q3]);
    // The backend's serve them, each those of its queue,
    expect(device.vcpus.map(({ notifications }) => notifications)).toEqual([q3, q2, q1, q0]);
    // and make the NOTIFY hypercalls for it, which is all that the hypervisor sees of them.
    device.vcpus.forEach(({ notifies }, vcpu) => {
      expect(notifies).toBeGreaterThan(0);
      // One may be on its way when the figures are taken.
      if (vcpu > 0) expect(Math.abs((backend[vcpu]?.hypercalls ?? 0) - notifies)).toBeLessThanOrEqual(1);
    });
  });
});
