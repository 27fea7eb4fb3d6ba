export * from './file-storage.js';
export * from './shared-directory.js';
