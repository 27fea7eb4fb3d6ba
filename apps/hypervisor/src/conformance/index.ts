export * from './run-vector.js';
export { topologyOf, type Vector, type VectorHead, type VectorStep } from './vector.js';
export { type RecordCarrier, type RunMode, RunnerError } from './vector-machine.js';
export { parseVector, type VectorPart, VectorReader, VectorWriter } from './vector-text.js';
