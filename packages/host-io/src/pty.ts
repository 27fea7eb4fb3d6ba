import { closeSync, constants, openSync, symlinkSync, writeSync } from 'node:fs';
import { ReadStream } from 'node:tty';
import {
  type ByteStream,
  type ByteStreamHandler,
  ChunkQueue,
  err,
  IGNORE,
  ok,
  type Result,
  type StreamSource,
  type StreamSourceHandler,
} from '@remio/base';
import { linkTarget, removeAtExit, removeFile, removeLink } from './left-behind.js';
import { makeRaw, setSize, sizeOf, unlockTerminal } from './terminal.js';

/** Milliseconds between looks at a terminal's size: nothing tells its master of changes. */
const SIZE_MS = 250;
/** Milliseconds after which a full terminal is tried again: the first time, and at most. */
const RETRY_MS = 1;
const RETRY_MS_MAX = 16;
/** Bytes kept that were written to the terminal and not read here, before its writers have to wait. */
const KEPT_MAX = 64 * 1024;
/** The size of a terminal that nobody has set. */
const FIRST_SIZE = { cols: 80, rows: 25 };

/**
 * The master's side of a pseudo-terminal. Node can wait for bytes of a master, but not for room: a full terminal is tried
 * again after a moment, at most every {@link RETRY_MS}.
 */
class PtyStream implements ByteStream {
  handler: ByteStreamHandler = IGNORE;
  /** A line has no end. */
  readonly ended = false;
  readonly #fd: number;
  readonly #input: ReadStream;
  readonly #received = new ChunkQueue();
  #closed = false;
  #retryMs = RETRY_MS;
  #retry: NodeJS.Timeout | undefined;

  /** @param fd the master, non-blocking; closed with the stream */
  constructor(fd: number) {
    this.#fd = fd;
    this.#input = new ReadStream(fd);
    this.#input.on('error', () => this.destroy());
    this.#input.once('close', () => this.handler.closed());
    this.#input.on('data', (chunk: Buffer) => {
      this.#received.push(chunk);
      if (this.#received.length >= KEPT_MAX) this.#input.pause();
      this.handler.readable();
    });
  }

  get available(): number {
    return this.#received.length;
  }

  get closed(): boolean {
    return this.#closed;
  }

  get writable(): boolean {
    return !this.#closed;
  }

  read(room: Uint8Array): number {
    const count = this.#received.read(room);
    if (this.#received.length < KEPT_MAX / 2 && this.#input.isPaused()) this.#input.resume();
    return count;
  }

  write(bytes: Uint8Array): number {
    let taken = 0;
    while (taken < bytes.length && !this.#closed) {
      const count = this.#give(bytes.subarray(taken));
      if (count === 0) {
        this.#tryAgain();
        break;
      }
      taken += count;
      this.#retryMs = RETRY_MS;
    }
    return taken;
  }

  end(): void {}

  giveWay(): void {}

  close(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.#closed) return;
    this.#closed = true;
    clearTimeout(this.#retry);
    this.#input.destroy();
  }

  /** Gives bytes to the system; 0 if it has no room now. */
  #give(bytes: Uint8Array): number {
    try {
      return writeSync(this.#fd, bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') this.destroy();
      return 0;
    }
  }

  #tryAgain(): void {
    if (this.#closed || this.#retry !== undefined) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS_MAX);
      this.handler.writable();
    }, this.#retryMs);
  }
}

/**
 * A pseudo-terminal, raw, that is there as long as the source is; whoever opens it, now or later, is at the other end.
 * @param alias where a symbolic link to the terminal is made; one that is there is replaced
 */
export function openPty(alias: string): Result<StreamSource, string> {
  if (linkTarget(alias) === null) return err(`${alias} is there and is no link to a terminal; choose another path`);
  let master: number;
  let terminal: number;
  let path: string;
  try {
    master = openSync('/dev/ptmx', constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
    const number = unlockTerminal(master);
    if (number === undefined) return err('/dev/ptmx gives no pseudo-terminal');
    path = `/dev/pts/${number}`;
    // Held open: without anybody at the other end, a master cannot be read or written.
    terminal = openSync(path, constants.O_RDWR | constants.O_NOCTTY);
    makeRaw(terminal);
    setSize(terminal, FIRST_SIZE);
    removeFile(alias);
    symlinkSync(path, alias);
  } catch (error) {
    return err(`no pseudo-terminal at ${alias}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return ok(
    new PtySource(
      master,
      terminal,
      removeAtExit(() => removeLink(alias, path)),
    ),
  );
}

class PtySource implements StreamSource {
  readonly #master: number;
  readonly #terminal: number;
  readonly #removeAlias: () => void;
  #stream: PtyStream | undefined;
  #looks: NodeJS.Timeout | undefined;

  constructor(master: number, terminal: number, removeAlias: () => void) {
    this.#master = master;
    this.#terminal = terminal;
    this.#removeAlias = removeAlias;
  }

  open(handler: StreamSourceHandler): void {
    this.#stream = new PtyStream(this.#master);
    handler.connected(this.#stream);
    let known = FIRST_SIZE;
    handler.resized(known.cols, known.rows);
    this.#looks = setInterval(() => {
      const size = sizeOf(this.#terminal);
      if (size === undefined || (size.cols === known.cols && size.rows === known.rows)) return;
      known = size;
      handler.resized(size.cols, size.rows);
    }, SIZE_MS);
    this.#looks.unref();
  }

  close(): Promise<void> {
    clearInterval(this.#looks);
    this.#removeAlias();
    this.#stream?.destroy();
    closeSync(this.#terminal);
    return Promise.resolve();
  }
}
