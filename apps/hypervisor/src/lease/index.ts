export * from './lease-table.js';
