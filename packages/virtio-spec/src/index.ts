export * from './block.js';
export * from './entropy.js';
export * from './features.js';
export * from './mmio.js';
export * from './net.js';
export * from './packed-ring.js';
export * from './split-ring.js';
