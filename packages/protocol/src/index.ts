export * from './frame.js';
export { MalformedFrame, RECORD, RECORD_FIELDS } from './record-codec.js';
export * from './records.js';
