export { remioConfigOf } from './config.js';
export type { PlatformEvent, PlatformHost, Violation } from './host.js';
export { Platform } from './platform.js';
export type { DeviceStats, VmStats } from './stats.js';
