export * from './inproc-engine.js';
export { hostScheduler } from './scheduler.js';
export * from './vm-host.js';
