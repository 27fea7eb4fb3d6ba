export * from './remote-link.js';
