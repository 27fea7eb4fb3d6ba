export * from './traps.js';
