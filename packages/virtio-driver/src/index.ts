export * from './blk-driver.js';
export * from './bring-up.js';
export * from './driver-error.js';
export * from './mmio-transport.js';
export * from './rng-driver.js';
export * from './shared-allocator.js';
