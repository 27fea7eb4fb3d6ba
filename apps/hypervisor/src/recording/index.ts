export * from './recorder.js';
export * from './replay.js';
