import type { ByteStream, StreamSource } from '@remio/host-io';
import type { ConsolePort } from '@remio/virtio-driver';

/** Where the guest takes a port to. */
export interface PortLine {
  /** Nothing will come or go any more. */
  readonly over: boolean;
  /** Moves what can be moved, both ways. */
  pump(port: ConsolePort): void;
  close(): Promise<void>;
}

/** Sends back whatever comes, as far as there is room. */
export class EchoLine implements PortLine {
  readonly over = false;

  pump(port: ConsolePort): void {
    if (port.hostOpen) port.open();
    port.drain((bytes) => {
      let at = 0;
      port.fill((room) => {
        const part = bytes.subarray(at, at + room.length);
        room.set(part);
        at += part.length;
        return part.length;
      });
      return at;
    });
    if (port.takeEnd()) port.close();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** A line to the host on which the guest runs. Bytes go straight between its connection and the port's buffers. */
export class HostLine implements PortLine {
  readonly #source: StreamSource;
  #stream: ByteStream | undefined;
  /** A connection came since the port was looked at. */
  #fresh = false;
  #gone = false;

  /** @param wake called when there is something to move */
  constructor(source: StreamSource, wake: () => void) {
    this.#source = source;
    source.open({
      connected: (stream) => {
        this.#stream = stream;
        this.#fresh = true;
        stream.handler = { readable: wake, writable: wake, closed: wake };
        wake();
      },
      resized: () => {},
      gone: () => {
        this.#gone = true;
        wake();
      },
    });
  }

  get over(): boolean {
    return this.#gone && this.#stream === undefined;
  }

  pump(port: ConsolePort): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    if (this.#fresh) {
      this.#fresh = false;
      port.open();
      // An end that was said to nobody is not said to a connection that came afterwards.
      if (port.empty) port.takeEnd();
    }
    if (stream.writable) port.drain((bytes) => stream.write(bytes));
    if (port.takeEnd()) stream.end();
    port.fill((room) => stream.read(room));
    if (!stream.ended && !(stream.closed && stream.available === 0)) return;
    port.close();
    if (!stream.closed) return;
    this.#stream = undefined;
    stream.destroy();
  }

  close(): Promise<void> {
    return this.#source.close();
  }
}
