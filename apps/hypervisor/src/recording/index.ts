export { Recorder } from './recorder.js';
export { RecordingFile } from './recording-file.js';
