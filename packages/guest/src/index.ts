export * from './guest.js';
export * from './hypercalls.js';
export * from './program.js';
export * from './program-error.js';
export * from './program-seat.js';
export * from './seat.js';
export * from './standby.js';
export * from './symbols.js';
