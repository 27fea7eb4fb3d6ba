export * from './file-room.js';
export * from './read-cached.js';
export * from './run-directory.js';
export * from './shared-region.js';
export * from './yield-cpu.js';
