export * from './program.js';
export * from './seat.js';
