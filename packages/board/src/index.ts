export * from './load-board.js';
export { BOARDS } from './profiles.js';
export * from './types.js';
