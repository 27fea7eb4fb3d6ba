import { once } from 'node:events';
import { createReadStream, createWriteStream, fstatSync } from 'node:fs';
import { Socket } from 'node:net';
import { isatty, ReadStream, WriteStream } from 'node:tty';
import type { StreamSource, StreamSourceHandler } from '@remio/base';
import { err, ok, type Result } from '@remio/base';
import { type NodeEnds, NodeStream } from './node-stream.js';
import { openPty } from './pty.js';
import { sizeOf } from './terminal.js';
import { connectUnix, listenUnix, socketPathProblem, type UnixListener } from './unix-socket.js';

/** Where a line leads outside. Paths are absolute. */
export type StreamEndpoint =
  /** A pseudo-terminal; `alias` becomes a symbolic link to it. */
  | { readonly kind: 'pty'; readonly alias: string }
  /** A Unix socket that is listened on; one client after the other. */
  | { readonly kind: 'listen'; readonly path: string }
  /** A Unix socket that is connected to, again whenever the connection ends. */
  | { readonly kind: 'connect'; readonly path: string }
  /** Files: one that is sent from its start to its end, one that is appended to. */
  | { readonly kind: 'file'; readonly input?: string; readonly output?: string }
  /** Standard input and output of the command. */
  | { readonly kind: 'stdio' };

/** Clients that wait until the one before them is done; further ones are turned away. */
const WAITING_MAX = 16;
/** Milliseconds until a connection is tried again: the first time, and at most. */
const CONNECT_MS = 20;
const CONNECT_MS_MAX = 1000;

/**
 * Opens what a line leads to.
 * @param endless whether files and standard output stay open for later writes when the end was said
 * @returns what is wrong, and what would be right
 */
export async function openEndpoint(endpoint: StreamEndpoint, endless: boolean): Promise<Result<StreamSource, string>> {
  switch (endpoint.kind) {
    case 'pty':
      return openPty(endpoint.alias);
    case 'listen':
      return ListenSource.listen(endpoint.path);
    case 'connect': {
      const problem = socketPathProblem(endpoint.path);
      return problem === undefined ? ok(new ConnectSource(endpoint.path)) : err(problem);
    }
    case 'file':
      return openFiles(endpoint.input, endpoint.output, endless);
    case 'stdio': {
      const [input, output] = stdioDescriptors();
      return ok(new OnceSource({ input: inputOf(input), output: outputOf(output), endless }, output));
    }
  }
}

/** One client of a listened socket after the other. */
class ListenSource implements StreamSource {
  readonly #waiting: Socket[] = [];
  #handler: StreamSourceHandler | undefined;
  #current: NodeStream | undefined;
  /** The client said its end, and whoever serves it has none to say: it goes when another one waits. */
  #yielding = false;
  #listener: UnixListener | undefined;

  static async listen(path: string): Promise<Result<StreamSource, string>> {
    const source = new ListenSource();
    const listener = await listenUnix(path, (socket) => source.#came(socket));
    if (!listener.ok) return listener;
    source.#listener = listener.value;
    return ok(source);
  }

  open(handler: StreamSourceHandler): void {
    this.#handler = handler;
    this.#next();
  }

  async close(): Promise<void> {
    this.#handler = undefined;
    for (const socket of this.#waiting.splice(0)) socket.destroy();
    this.#current?.destroy();
    await this.#listener?.close();
  }

  #came(socket: Socket): void {
    if (this.#waiting.length >= WAITING_MAX) {
      socket.destroy();
      return;
    }
    socket.on('error', () => {});
    this.#waiting.push(socket);
    if (this.#yielding) this.#current?.end();
    this.#next();
  }

  #next(): void {
    if (this.#handler === undefined || this.#current !== undefined) return;
    const socket = this.#waiting.shift();
    if (socket === undefined) return;
    this.#yielding = false;
    this.#current = new NodeStream(
      { input: socket, output: socket },
      {
        released: () => {
          this.#current = undefined;
          this.#next();
        },
        gaveWay: () => {
          this.#yielding = true;
          if (this.#waiting.length > 0) this.#current?.end();
        },
      },
    );
    this.#handler.connected(this.#current);
  }
}

/** A socket that is connected to, again and again. */
class ConnectSource implements StreamSource {
  readonly #path: string;
  #handler: StreamSourceHandler | undefined;
  #current: NodeStream | undefined;
  #waitMs = CONNECT_MS;
  #wait: NodeJS.Timeout | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  open(handler: StreamSourceHandler): void {
    this.#handler = handler;
    void this.#connect();
  }

  close(): Promise<void> {
    this.#handler = undefined;
    clearTimeout(this.#wait);
    this.#current?.destroy();
    return Promise.resolve();
  }

  async #connect(): Promise<void> {
    const connected = await connectUnix(this.#path);
    const handler = this.#handler;
    if (handler === undefined) {
      if (connected.ok) connected.value.destroy();
      return;
    }
    if (!connected.ok) {
      this.#again();
      return;
    }
    this.#waitMs = CONNECT_MS;
    const current = new NodeStream(
      { input: connected.value, output: connected.value },
      {
        released: () => {
          this.#current = undefined;
          this.#again();
        },
        // Whoever is connected to may wait for the end to listen again.
        gaveWay: () => current.end(),
      },
    );
    this.#current = current;
    handler.connected(this.#current);
  }

  #again(): void {
    if (this.#handler === undefined) return;
    this.#wait = setTimeout(() => void this.#connect(), this.#waitMs);
    this.#wait.unref();
    this.#waitMs = Math.min(2 * this.#waitMs, CONNECT_MS_MAX);
  }
}

/** A line that is there once. */
class OnceSource implements StreamSource {
  readonly #ends: NodeEnds;
  /** A terminal whose size counts. */
  readonly #terminal: number | undefined;
  #stream: NodeStream | undefined;
  #onResize: (() => void) | undefined;

  constructor(ends: NodeEnds, terminal?: number) {
    this.#ends = ends;
    this.#terminal = terminal !== undefined && isatty(terminal) ? terminal : undefined;
  }

  open(handler: StreamSourceHandler): void {
    this.#stream = new NodeStream(this.#ends, {
      released: () => {
        this.#forgetSize();
        handler.gone();
      },
    });
    handler.connected(this.#stream);
    const terminal = this.#terminal;
    if (terminal === undefined) return;
    this.#onResize = () => {
      const size = sizeOf(terminal);
      if (size !== undefined) handler.resized(size.cols, size.rows);
    };
    this.#onResize();
    process.on('SIGWINCH', this.#onResize);
  }

  close(): Promise<void> {
    this.#forgetSize();
    this.#stream?.destroy();
    return Promise.resolve();
  }

  #forgetSize(): void {
    if (this.#onResize !== undefined) process.off('SIGWINCH', this.#onResize);
    this.#onResize = undefined;
  }
}

async function openFiles(
  input: string | undefined,
  output: string | undefined,
  endless: boolean,
): Promise<Result<StreamSource, string>> {
  const ends = {
    ...(input === undefined ? {} : { input: createReadStream(input, { highWaterMark: 64 * 1024 }) }),
    ...(output === undefined ? {} : { output: createWriteStream(output, { flags: 'a' }) }),
  };
  const opened = await Promise.allSettled(
    [ends.input, ends.output].flatMap((stream) => (stream === undefined ? [] : [once(stream, 'open')])),
  );
  const failed = opened.find((end) => end.status === 'rejected');
  if (failed !== undefined) {
    ends.input?.destroy();
    ends.output?.destroy();
    return err(`a file of the line cannot be opened: ${messageOf(failed.reason)}`);
  }
  return ok(new OnceSource({ ...ends, endless }));
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** Names the descriptors of standard input and output where they are not 0 and 1: `IN,OUT`. */
export const STDIO_VARIABLE = 'REMIO_STDIO';

/** The command's standard input and output, also in its child processes, which have their own. */
function stdioDescriptors(): readonly [number, number] {
  const [input = 0, output = 1] = (process.env[STDIO_VARIABLE] ?? '0,1').split(',').map(Number);
  return [input, output];
}

const isFile = (fd: number): boolean => !fstatSync(fd).isFIFO() && !fstatSync(fd).isSocket();

const inputOf = (fd: number): NonNullable<NodeEnds['input']> => {
  if (isatty(fd)) return new ReadStream(fd);
  return isFile(fd) ? createReadStream('', { fd }) : new Socket({ fd, readable: true, writable: false });
};

const outputOf = (fd: number): NonNullable<NodeEnds['output']> => {
  if (isatty(fd)) return new WriteStream(fd);
  return isFile(fd) ? createWriteStream('', { fd }) : new Socket({ fd, readable: false, writable: true });
};
