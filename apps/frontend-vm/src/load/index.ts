export { load } from './load.js';
export { LOAD_DEFAULTS, type LoadOptions, type StartGate, type TracedAccess } from './options.js';
export { LOAD_READY, type LoadProgramOptions, loadProgram, type StartMessage } from './told-start.js';
