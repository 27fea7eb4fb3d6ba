export type { ByteStream, StreamSource } from '@remio/virtio-device';
export * from './capture-file.js';
export * from './file-storage.js';
export { NodeStream } from './node-stream.js';
export * from './shared-directory.js';
export { openEndpoint, STDIO_VARIABLE, type StreamEndpoint } from './stream-source.js';
export * from './tap.js';
export { connectUnix, listenUnix, type UnixListener } from './unix-socket.js';
