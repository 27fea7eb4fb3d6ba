export * from './delayed-memory.js';
export * from './guest-memory.js';
export * from './local-memory.js';
