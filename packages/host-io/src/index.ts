export * from './capture-file.js';
export * from './file-storage.js';
export * from './tap.js';
