export { afterHostTurn, whenDrained } from './drain.js';
export { fasterLoop, type HostLoop, hostLoop } from './host-loop.js';
export { InprocEngine, type InprocEvents, type InprocOptions, privateMemory } from './inproc-engine.js';
export type { RunnableVcpus, TurnScheduler } from './scheduler.js';
export * from './vm-host.js';
export { type ProgramTable, programOf, runVmProcess } from './vm-process.js';
