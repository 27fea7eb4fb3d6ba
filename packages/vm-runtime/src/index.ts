export { afterHostTurn, whenDrained } from './drain.js';
export { fasterLoop, type HostLoop, hostLoop } from './host-loop.js';
export { InprocEngine, type InprocEvents, type InprocOptions, privateMemory } from './inproc-engine.js';
export { type ProgramTable, programOf } from './program-of.js';
export { runVmProcess } from './run-vm-process.js';
export type { RunnableVcpus, TurnScheduler } from './scheduler.js';
export * from './vm-host.js';
