export * from './checked.js';
export type {
  BlockModelOptions,
  ConsoleModelOptions,
  DeviceChoice,
  EntropyModelOptions,
  FsModelOptions,
  GpioModelLine,
  GpioModelOptions,
  I2cChip,
  I2cModelOptions,
  NetLink,
  NetModelOptions,
  VsockModelOptions,
} from './devices/index.js';
export { type Diagnostic, type Place, type RuleId, renderDiagnostics, TOPOLOGY_RULES } from './diagnostics.js';
export type {
  ConsoleDriverChoice,
  ConsoleDriverPort,
  DriverChoice,
  FsCheckChoice,
  GpioCheckChoice,
  NbdDriverChoice,
  NetstackOptions,
  RngDriverChoice,
  TapDriverOptions,
  VsockDriverChoice,
} from './drivers/index.js';
export type { TopologyFiles } from './end-context.js';
export { isBackend } from './host-checks.js';
export * from './host-needs.js';
export type { IpcDriverChoice, IpcExchangeChoice } from './ipc-drivers/index.js';
export { topologyJsonSchema } from './json-schema.js';
export { usesStdio } from './lines.js';
export * from './load.js';
export * from './parse.js';
export { topologySchema } from './schema.js';
export * from './star.js';
export * from './types.js';
