import { connect, createServer, type Server, type Socket } from 'node:net';

/** A wire that can be cut: passes bytes between whoever connects to one Unix socket and the one behind another. */
export class Relay {
  readonly #server: Server;
  readonly #to: string;
  readonly #sockets = new Set<Socket>();
  #swallows = false;
  #refuses = false;

  private constructor(to: string) {
    this.#to = to;
    this.#server = createServer((near) => {
      if (this.#refuses) {
        near.destroy();
        return;
      }
      const far = connect(this.#to);
      this.#join(near, far);
      this.#join(far, near);
    });
  }

  static async start(at: string, to: string): Promise<Relay> {
    const relay = new Relay(to);
    await new Promise<void>((resolve) => relay.#server.listen(at, resolve));
    return relay;
  }

  /** From now on whatever is sent is lost, in both directions; the connections stay. */
  swallow(): void {
    this.#swallows = true;
  }

  /** Breaks every connection; new ones work. */
  drop(): void {
    this.#swallows = false;
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Breaks every connection, and takes no more. */
  refuse(): void {
    this.#refuses = true;
    this.drop();
  }

  close(): void {
    this.refuse();
    this.#server.close();
  }

  #join(from: Socket, to: Socket): void {
    this.#sockets.add(from);
    from.on('data', (bytes) => {
      if (!this.#swallows) to.write(bytes);
    });
    // Broken connections are what this is for.
    from.on('error', () => {});
    from.on('close', () => {
      this.#sockets.delete(from);
      to.destroy();
    });
  }
}
