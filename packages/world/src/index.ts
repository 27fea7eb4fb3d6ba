export type { Ending } from './cpu-schedule.js';
export { HOP_TEXT, HOPS, type Hop } from './hops.js';
export * from './medium.js';
export * from './world.js';
