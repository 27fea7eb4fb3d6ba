import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { remio, root } from './run-remio.js';

/** A file system with three request queues behind that of high priority. */
const FILE_SYSTEM = `
board: { name: synthetic-riscv64, cpus: 5 }
shared_memories: { share: { size: 8MiB } }
vms:
  backend:
    cpus: 2
    remio_devs:
      - { name: share, type: backend, bind_key: 0, interrupt: 36, shmem: { memory: share, base: 0xd0000000 },
          vcpu: 0, queue_vcpus: [0, 0, 1, 1], device: { type: fs, tag: share, directory: share, queues: 3 } }
  guest:
    cpus: 3
    remio_devs:
      - { name: share, type: frontend, bind_key: 0, interrupt: 79, shmem: { memory: share, base: 0xd0000000 },
          window: { base: 0xa003e00 }, queue_vcpus: [0, 1, 2, 0], driver: { type: fs-check } }
`;

/** Accesses that set a queue up (4.2.3.2): QueueSizeMax and QueueSel, QueueSel, QueueReady twice, QueueSize, six halves. */
const QUEUE_SET_UP = 12;

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

async function figures(engine: 'processes' | 'inproc', topology: string, device: string): Promise<Figures> {
  const image = join(folder, 'disk.img');
  const ended = await remio('up', topology, '--image', image, '--json', '--until-done', '--engine', engine);
  expect(ended).toMatchObject({ code: 0, stderr: '' });
  const line = ended.stdout.split('\n').findLast((text) => /^\{"(status|vms)"/.test(text));
  const value = JSON.parse(line ?? '{}');
  const vms: readonly { readonly name: string; readonly vcpus: readonly Counts[] }[] =
    engine === 'processes' ? value.status.vms : value.vms;
  const vcpus = (name: string): readonly Counts[] => vms.find((vm) => vm.name === name)?.vcpus ?? [];
  const counts: DeviceCounts =
    engine === 'processes' ? value.reports.backend[`counters:${device}`] : value.devices[0].report;
  return { backend: vcpus('backend'), guest: vcpus('guest'), device: counts };
}

describe.each(['processes', 'inproc'] as const)('queues that a topology places, engine %s', (engine) => {
  it('are used and served by the vCPUs that it names, as the hypervisor counts them', async () => {
    const { backend, guest, device } = await figures(
      engine,
      join(root, 'deploy', 'topologies', 'placement.yaml'),
      'disk0',
    );
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

  it('5.11.5: so are the request queues of a file system, which its driver uses in turn', async () => {
    mkdirSync(join(folder, 'share'));
    const topology = join(folder, 'fs.yaml');
    writeFileSync(topology, FILE_SYSTEM);
    const { guest, device } = await figures(engine, topology, 'share');
    const [, q1, q2, q3] = device.queues;
    const requests = [q1, q2, q3].map((queue) => queue?.requests ?? 0);
    expect(Math.min(...requests)).toBeGreaterThan(20);
    expect(Math.max(...requests) - Math.min(...requests)).toBeLessThanOrEqual(1);
    const traps = guest.slice(1).map((vcpu) => vcpu.traps - QUEUE_SET_UP);
    expect(traps).toEqual([q1?.notifications, q2?.notifications]);
    expect(device.vcpus[1]?.notifications).toBe((q2?.notifications ?? 0) + (q3?.notifications ?? 0));
  });
});
