import type { Settings } from './language.js';
import { sizeOf } from './workload-rules.js';

/** Bytes of a page. */
export const PAGE = 4096;
/** Entries of a queue, at most. */
const QUEUE_SIZE_MAX = 1024;

const up = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** Bytes of a buffer for a frame of any size, with `struct virtio_net_hdr`. */
const FRAME_ROOM = 2048;

/** Bytes of shared memory for one device: buffers, rings and room for requests, for every vCPU. */
export function roomFor(work: Pick<Settings['workload'], 'type' | 'size' | 'depth'>, vcpus: number): number {
  const { type, depth } = work;
  switch (type) {
    case 'mmio':
    case 'replay':
      return 16 * PAGE;
    case 'block':
      return up(vcpus * (depth * (up(sizeOf(work), PAGE) + 512) + 32 * PAGE), PAGE);
    case 'network':
      return up(2 * queueSizeFor(depth) * FRAME_ROOM + 32 * PAGE, PAGE);
    case 'console':
      return 64 * PAGE;
  }
}

/** Entries of a queue for so many requests: three descriptors each, where there are no indirect ones. */
export const queueSizeFor = (depth: number): number => Math.min(QUEUE_SIZE_MAX, 2 ** Math.ceil(Math.log2(4 * depth)));
