export * from './interpreter-seat.js';
