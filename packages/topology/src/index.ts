export { type ParsedBoard, parseBoard } from './board-file.js';
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
export { deviceQueues, queueSizeMax } from './devices/index.js';
export { type Diagnostic, type Place, renderDiagnostics, type TextEdit } from './diagnostics.js';
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

export * as fields from './fields.js';
export { type FixedText, fixText } from './fix.js';
export { isBackend } from './host-checks.js';
export * from './host-needs.js';
export type { IpcDriverChoice, IpcExchangeChoice } from './ipc-drivers/index.js';
export { boardJsonSchema, topologyJsonSchema } from './json-schema.js';

export * from './keys-section.js';
export { usesStdio } from './lines.js';
export * from './load.js';
export * from './parse.js';
export { showPath } from './path.js';
export { EXAMPLE_BOARD, EXAMPLE_TOPOLOGY, exampleFiles, RULE_EXAMPLES, type RuleExample } from './rules/examples.js';
export { isRule, RULES, type Rule, type RuleId, TOPOLOGY_RULES } from './rules/index.js';
export { topologySchema } from './schema.js';
export * from './star.js';
export * from './types.js';
