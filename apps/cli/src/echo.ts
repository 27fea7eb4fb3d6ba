import { connect, createServer, type Server } from 'node:net';
import { Prng } from '@remio/base';

/** What came of {@link echo}. */
export interface Echoed {
  readonly bytes: number;
  /** Nanoseconds from connecting to the last byte. */
  readonly ns: number;
  /** What was wrong; undefined: everything came back as it was sent. */
  readonly problem: string | undefined;
}

/** A server on a Unix socket that sends back whatever comes. */
export const serveEcho = (path: string): Promise<Server> =>
  new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => socket.destroy());
      socket.pipe(socket);
    });
    server.once('error', reject);
    server.listen(path, () => resolve(server));
  });

/**
 * Sends bytes to whoever is behind a Unix socket, and compares what comes back.
 * @param greeting a line that is sent first, and answered with a line
 */
export function echo(path: string, bytes: number, greeting?: string): Promise<Echoed> {
  const sent = new Uint8Array(bytes);
  new Prng(11).fill(sent);
  return new Promise((resolve) => {
    const received: Buffer[] = [];
    let count = 0;
    /** Bytes of the answer to the greeting; 0: it has not come whole. */
    let preface = 0;
    const start = process.hrtime.bigint();
    const socket = connect(path);
    const end = (problem: string | undefined): void => {
      resolve({ bytes, ns: Number(process.hrtime.bigint() - start), problem });
      socket.destroy();
    };
    socket.on('error', (error) => end(`${path}: ${error.message}`));
    socket.on('close', () => end(`closed after ${count} bytes`));
    socket.on('data', (piece) => {
      received.push(piece);
      count += piece.length;
      if (greeting !== undefined && preface === 0) preface = Buffer.concat(received).indexOf('\n') + 1;
      if (count < bytes + preface || (greeting !== undefined && preface === 0)) return;
      end(Buffer.concat(received).subarray(preface).equals(sent) ? undefined : 'what came back is not what was sent');
    });
    if (greeting !== undefined) socket.write(greeting);
    socket.write(sent);
  });
}
