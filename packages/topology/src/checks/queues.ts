import { hasFeature, VIRTIO_F_RING_PACKED } from '@remio/virtio-spec';
import { layoutQueue, queueSizeWithin } from '@remio/virtqueue';
import { deviceQueues, queueSizeMax } from '../devices/index.js';
import type { TopologySource } from '../reader.js';
import type { Topology } from '../types.js';
import { endsByKey } from './pairs.js';

/** Drivers start every queue at a page. */
const PAGE = 4096;
const MIB = 1024 ** 2;

/**
 * Checks that the virtqueues of a device fit the memory that its ends share, at the sizes that a driver may give them.
 * Buffers come on top: only the rings have a size that the topology says.
 */
export function checkQueues(source: TopologySource, topology: Topology): void {
  for (const ends of endsByKey(topology).values()) {
    const backend = ends.find(({ end }) => end.type === 'backend');
    const frontend = ends.find(({ end }) => end.type === 'frontend');
    if (backend?.end.device?.kind !== 'builtin' || frontend === undefined) continue;
    const { shmem, device, name } = backend.end;
    const memory = topology.sharedMemories[shmem.id];
    if (memory === undefined) continue;
    const count = deviceQueues(device.choice);
    const size = queueSizeMax(device.choice);
    const packed = hasFeature(backend.end.ring & frontend.end.ring, VIRTIO_F_RING_PACKED);
    const features = packed ? 1n << BigInt(VIRTIO_F_RING_PACKED) : 0n;
    const { bytes } = layoutQueue(0n, queueSizeWithin(size, features), features);
    const needed = count * Math.ceil(bytes / PAGE) * PAGE;
    if (needed <= memory.size) continue;
    // Half of it for the rings leaves room for buffers.
    const enough = needed * 2 < MIB ? `${(needed * 2) / 1024}KiB` : `${Math.ceil((needed * 2) / MIB)}MiB`;
    const queues = `${count} queue${count === 1 ? '' : 's'} of ${size}`;
    const message = `the virtqueues of ${name} (${queues}) take ${needed} bytes; ${memory.name} has ${memory.size}`;
    const path = ['shared_memories', memory.name, 'size'];
    source.error('queue-fit', path, message, `write ${enough}, or give the device fewer or smaller queues`, {
      kind: 'set',
      path,
      value: enough,
    });
  }
}
