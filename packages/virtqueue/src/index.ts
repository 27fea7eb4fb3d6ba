export * from './activate.js';
export * from './decode-queue.js';
export * from './packed-device-queue.js';
export * from './packed-driver-queue.js';
export { layoutPackedQueue } from './packed-layout.js';
export * from './split-device-queue.js';
export * from './split-driver-queue.js';
export { layoutSplitQueue, needsEvent } from './split-layout.js';
export * from './types.js';
