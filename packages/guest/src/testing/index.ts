export * from './guest-code.js';
export * from './interpreter-seat.js';
