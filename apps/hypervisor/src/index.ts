export * from './recording/index.js';
export * from './service/keys.js';
export * from './service/logger.js';
export * from './service/protection.js';
export * from './service/service.js';
