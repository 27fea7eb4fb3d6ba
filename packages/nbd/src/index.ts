export * from './constants.js';
export * from './export.js';
export * from './handshake.js';
export * from './replies.js';
export * from './requests.js';
