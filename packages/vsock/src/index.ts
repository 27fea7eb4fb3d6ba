export * from './connection.js';
export * from './endpoint.js';
export * from './header.js';
