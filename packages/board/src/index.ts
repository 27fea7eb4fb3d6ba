export { boardRows } from './board-rows.js';
export * from './load-board.js';
export { BOARDS } from './profiles.js';
export * from './types.js';
