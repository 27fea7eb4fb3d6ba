import { type ByteStream, err, ok, type Result } from '@remio/base';
import type { VsockOutside } from '@remio/virtio-device';
import { NodeStream } from './node-stream.js';
import { connectUnix, listenUnix, socketPathProblem, type UnixListener } from './unix-socket.js';

/** The longest `_PORT` that follows the path. */
const SUFFIX = '_4294967295';

/**
 * The programs of the host that a guest can talk to, behind Unix sockets as Firecracker's hybrid vsock has them: they
 * connect to `PATH`, and a port P of the host leads to whoever listens on `PATH_P`.
 */
export class HybridVsock implements VsockOutside {
  readonly #path: string;
  #listener: UnixListener | undefined;
  #connected: (stream: ByteStream) => void = (stream) => stream.destroy();

  private constructor(path: string) {
    this.#path = path;
  }

  /** @returns why the path cannot be listened on */
  static async listen(path: string): Promise<Result<HybridVsock, string>> {
    const problem = socketPathProblem(path + SUFFIX);
    if (problem !== undefined) return err(problem);
    const hybrid = new HybridVsock(path);
    const listener = await listenUnix(path, (socket) =>
      hybrid.#connected(new NodeStream({ input: socket, output: socket })),
    );
    if (!listener.ok) return listener;
    hybrid.#listener = listener.value;
    return ok(hybrid);
  }

  open(connected: (stream: ByteStream) => void): void {
    this.#connected = connected;
  }

  connect(port: number, done: (stream: ByteStream | undefined) => void): void {
    void connectUnix(`${this.#path}_${port}`).then((connected) =>
      done(connected.ok ? new NodeStream({ input: connected.value, output: connected.value }) : undefined),
    );
  }

  async close(): Promise<void> {
    this.#connected = (stream) => stream.destroy();
    await this.#listener?.close();
  }
}
