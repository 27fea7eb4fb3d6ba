import type { Dealer, Router } from 'zeromq';

/** What ZeroMQ takes at once, or refuses: its `send` never waits when `sendTimeout` is 0. */
type Send<Parts> = (parts: Parts) => Promise<void>;

/** Over TCP, a host that is gone without a word is noticed by the kernel, even while the other process is stopped. */
export const KEEP_ALIVE = { tcpKeepalive: 1, tcpKeepaliveIdle: 10, tcpKeepaliveInterval: 5, tcpKeepaliveCount: 3 };

/**
 * The socket of one end. Frames go out in order, as soon as they are sent, and come in one by one: the next is waited
 * for only when the owner asks, because a socket that is polled for input makes sending dearer. All callbacks are made
 * once: a frame allocates none.
 */
export class FrameSocket<S extends Dealer | Router, Parts> {
  readonly socket: S;
  readonly #send: Send<Parts>;
  readonly #onParts: (parts: Buffer[]) => void;
  #closed = false;

  /** @param onParts takes what arrives */
  constructor(socket: S, onParts: (parts: Buffer[]) => void) {
    this.socket = socket;
    this.#send = socket.send.bind(socket) as unknown as Send<Parts>;
    this.#onParts = (parts) => {
      if (!this.#closed) onParts(parts);
    };
  }

  /** @param onRefused told when the frame cannot be delivered: its peer is gone, or its queue is full */
  send(parts: Parts, onRefused: () => void): void {
    if (!this.#closed) this.#send(parts).then(undefined, onRefused);
  }

  /** Waits for the next frame. */
  receive(): void {
    if (!this.#closed) this.socket.receive().then(this.#onParts, this.#onError);
  }

  /** Closes the socket; what was sent still leaves. */
  close(): void {
    this.#closed = true;
    this.socket.close();
  }

  /** Closes the socket; what has not left never does. */
  abandon(): void {
    this.socket.linger = 0;
    this.close();
  }

  readonly #onError = (error: unknown): void => {
    // A closed socket ends its receive; anything else is a mistake of ours.
    if (!this.#closed) throw error;
  };
}
