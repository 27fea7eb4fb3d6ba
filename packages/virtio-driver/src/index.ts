export * from './blk-driver.js';
export * from './bring-up.js';
export * from './driver-error.js';
export * from './mmio-transport.js';
export * from './net/net-driver.js';
export type { ReceivedFrame } from './net/receive-ring.js';
export type { TransmitBuffer } from './net/transmit-ring.js';
export * from './rng-driver.js';
export * from './shared-allocator.js';
