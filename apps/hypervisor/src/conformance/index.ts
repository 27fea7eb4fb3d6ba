export * from './run-vector.js';
export { parseVector, type Vector, type VectorStep } from './vector.js';
export { type RecordCarrier, type RunMode, VectorMachine } from './vector-machine.js';
