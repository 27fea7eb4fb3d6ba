export * from './curve-key.js';
export * from './frame.js';
export { TRANSIENT_BYTES_MAX } from './frame-bytes.js';
export * from './link.js';
export * from './proof.js';
export { bulkOf, MEMORY_BYTES_MAX } from './record-codec.js';
export * from './records.js';
export type * from './transport.js';
