export * from './export.js';
export * from './problems.js';
