export * from './byte-stream.js';
export * from './chunk-queue.js';
export * from './ids.js';
export * from './prng.js';
export * from './result.js';
export * from './saved-state.js';
export * from './u64.js';
