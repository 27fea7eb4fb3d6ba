import type { Dealer, Router } from 'zeromq';

type Parts = Buffer | [Buffer, Buffer];

/** Milliseconds that frames have to leave when the socket is closed. */
const CLOSE_MS = 200;

/**
 * One writer of a socket: sends in order, and never has two sends open. A socket that is ready takes a frame at once;
 * frames that it does not take wait here.
 */
export class FrameSocket<S extends Dealer | Router> {
  readonly socket: S;
  readonly #waiting: Parts[] = [];
  readonly #onRefused: (parts: Parts) => void;
  #busy = false;
  /** Asked to close: called when nothing waits any more. */
  #drained: (() => void) | undefined;

  /** @param onRefused told of a frame that cannot be delivered: its peer is gone, or its queue is full */
  constructor(socket: S, onRefused: (parts: Parts) => void) {
    this.socket = socket;
    this.#onRefused = onRefused;
  }

  send(parts: Parts): void {
    if (this.#drained !== undefined) return;
    if (this.#busy) {
      this.#waiting.push(parts);
      return;
    }
    this.#write(parts);
  }

  /** Frames that wait. */
  get queued(): number {
    return this.#waiting.length;
  }

  /** Closes the socket once what was sent has left, or has had its time; nothing more is sent. */
  async close(): Promise<void> {
    if (this.#drained !== undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, CLOSE_MS);
      this.#drained = () => {
        clearTimeout(timer);
        resolve();
      };
      if (!this.#busy) this.#drained();
    });
    this.#waiting.length = 0;
    this.socket.close();
  }

  #write(parts: Parts): void {
    this.#busy = true;
    (this.socket.send as (parts: Parts) => Promise<void>)(parts).then(
      () => this.#next(),
      () => {
        this.#onRefused(parts);
        this.#next();
      },
    );
  }

  #next(): void {
    this.#busy = false;
    const next = this.#waiting.shift();
    if (next !== undefined) this.#write(next);
    else this.#drained?.();
  }
}
