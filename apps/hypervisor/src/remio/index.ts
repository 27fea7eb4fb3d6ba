export { askOutputs } from './calls.js';
export * from './core.js';
export * from './rules.js';
export type { CoreState } from './save.js';
export type { CoreData, CpuState, Device, Request, RequestState, Side } from './state.js';
export * from './types.js';
