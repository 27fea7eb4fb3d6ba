export type { CallCount } from './call-counts.js';
export { remioConfigOf } from './config.js';
export type { PlatformEvent, PlatformHost, SteppedCore, Violation } from './host.js';
export { Platform } from './platform.js';
export type { DeviceStats, VcpuStats, VmStats } from './stats.js';
