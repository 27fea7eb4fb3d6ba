export type { Ending } from './cpu-schedule.js';
export { EchoLine } from './echo-line.js';
export { EchoPort } from './echo-port.js';
export { HOP_TEXT, HOPS, type Hop } from './hops.js';
export { LINK, Link, type LinkOptions } from './link.js';
export * from './medium.js';
export * from './world.js';
