export * from './latency.js';
export * from './show.js';
