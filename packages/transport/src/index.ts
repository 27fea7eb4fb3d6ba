export * from './connection.js';
export * from './host-time.js';
export * from './key-file.js';
export type * from './keys.js';
export * from './listener.js';
export type { ListenerHandler, Rejection } from './listener-handler.js';
export type { Peer } from './peer-table.js';
export * from './session-routes.js';
