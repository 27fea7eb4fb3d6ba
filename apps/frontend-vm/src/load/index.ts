export { load } from './load.js';
export { LOAD_DEFAULTS, type LoadOptions, type StartGate } from './options.js';
