export { boardFacts } from './board-facts.js';
export { boardRows } from './board-rows.js';
export * from './costs.js';
export * from './load-board.js';
export { memoryMap } from './memory-map.js';
export { BOARDS, SYNTHETIC_CPUS_MAX } from './profiles.js';
export * from './types.js';
