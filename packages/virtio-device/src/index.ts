export type { BlockLifetime, BlockOptions } from './block/config-space.js';
export * from './block/device.js';
export * from './block/storage.js';
export * from './device.js';
export * from './entropy/device.js';
export * from './mmio-registers.js';
export * from './queue-server.js';
export type { SavedRegisters } from './saved-registers.js';
