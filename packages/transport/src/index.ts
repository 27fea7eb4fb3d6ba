export * from './connection.js';
export * from './host-time.js';
export * from './listener.js';
export type { Peer } from './peer-table.js';
export * from './session-routes.js';
