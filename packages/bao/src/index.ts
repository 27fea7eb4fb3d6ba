export { CParser } from './c-parser.js';
export * from './export.js';
export * from './import-bao.js';
export { type ImportDtsOptions, importDts } from './import-dts.js';
export * from './problems.js';
export type { InputFile } from './read-config.js';
export { SIDECAR_NAME } from './sidecar.js';
