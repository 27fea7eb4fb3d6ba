export { remioConfigOf } from './config.js';
export * from './platform.js';
export type { DeviceStats, VmStats } from './stats.js';
