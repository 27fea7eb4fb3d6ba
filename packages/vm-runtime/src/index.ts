export * from './inproc-engine.js';
export { hostScheduler } from './scheduler.js';
export * from './vm-host.js';
export { type ProgramTable, programOf, runVmProcess } from './vm-process.js';
