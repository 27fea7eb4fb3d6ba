import { connect, createServer, type Server, type Socket } from 'node:net';
import { err, ok, type Result } from '@remio/base';
import { removeAtExit, removeFile } from './left-behind.js';

/** Bytes of a Unix socket's path on Linux, without the NUL (unix(7)). */
const PATH_MAX = 107;

/** A Unix socket that is listened on; its file goes with it. */
export interface UnixListener {
  close(): Promise<void>;
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** What is wrong with the path of a Unix socket; undefined: nothing. */
export function socketPathProblem(path: string): string | undefined {
  const bytes = Buffer.byteLength(path);
  return bytes > PATH_MAX ? `socket ${path} has a path of ${bytes} bytes; the system takes ${PATH_MAX}` : undefined;
}

/**
 * Listens on a Unix socket. A file that a killed process left there is replaced, one that somebody listens on is not.
 * @param onConnection takes connections; each is paused, and open in one direction after the other was ended
 * @returns why it cannot be listened on
 */
export async function listenUnix(
  path: string,
  onConnection: (socket: Socket) => void,
): Promise<Result<UnixListener, string>> {
  const problem = socketPathProblem(path);
  if (problem !== undefined) return err(problem);
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, onConnection);
  let listening = await tryToListen(server, path);
  if (listening === 'EADDRINUSE' && (await isLeftBehind(path))) {
    removeFile(path);
    listening = await tryToListen(server, path);
  }
  if (listening === 'EADDRINUSE') return err(`socket ${path} is in use by another process; choose another path`);
  if (listening !== undefined) return err(`socket ${path} cannot be listened on: ${listening}`);
  const remove = removeAtExit(() => removeFile(path));
  return ok({
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        remove();
      }),
  });
}

/** Whether nobody listens on a socket any more. */
async function isLeftBehind(path: string): Promise<boolean> {
  const other = await connectUnix(path);
  if (other.ok) other.value.destroy();
  return !other.ok;
}

/** Listens; undefined if it does, otherwise the error's code. */
const tryToListen = (server: Server, path: string): Promise<string | undefined> =>
  new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => resolve(error.code ?? messageOf(error));
    server.once('error', failed);
    server.listen(path, () => {
      server.off('error', failed);
      resolve(undefined);
    });
  });

/**
 * Connects to a Unix socket.
 * @returns the connection, open in one direction after the other was ended; or why nobody answers
 */
export const connectUnix = (path: string): Promise<Result<Socket, string>> =>
  new Promise((resolve) => {
    const socket = connect({ path, allowHalfOpen: true });
    const failed = (error: Error): void => resolve(err(`socket ${path}: ${error.message}`));
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      resolve(ok(socket));
    });
  });
