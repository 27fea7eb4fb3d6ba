export * from './memory-server.js';
export { MESSAGE_BYTES_MAX } from './messages.js';
export * from './remote-memory.js';
