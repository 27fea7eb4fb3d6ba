import type { Settings } from './language.js';

/** Bytes of a page. */
export const PAGE = 4096;
/** Entries of a queue, at most. */
const QUEUE_SIZE_MAX = 1024;

const up = (value: number, unit: number): number => Math.ceil(value / unit) * unit;

/** Bytes of shared memory for one device: buffers, rings and room for requests, for every vCPU. */
export const roomFor = ({ type, size, depth }: Settings['workload'], vcpus: number): number =>
  type === 'block' ? up(vcpus * (depth * (up(size, PAGE) + 512) + 32 * PAGE), PAGE) : 16 * PAGE;

/** Entries of a queue for so many requests: three descriptors each, where there are no indirect ones. */
export const queueSizeFor = (depth: number): number => Math.min(QUEUE_SIZE_MAX, 2 ** Math.ceil(Math.log2(4 * depth)));
