export * from './capture-file.js';
export * from './file-storage.js';
export * from './shared-directory.js';
export * from './tap.js';
