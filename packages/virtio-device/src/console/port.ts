import { type ByteStream, IGNORE, type StreamSource } from '@remio/base';
import { consoleReceiveq, consoleTransmitq } from '@remio/virtio-spec';
import type { DeviceIo } from '../device.js';
import { RoomQueue } from '../room-queue.js';
import { TransmitQueue } from './transmit-queue.js';

/** How a port presents itself. */
export interface ConsolePortOptions {
  readonly source: StreamSource;
  /** For the guest to find the port by; at most {@link PORT_NAME_MAX} bytes of UTF-8. */
  readonly name?: string;
  /** Whether the guest should treat the port as a console: a terminal with a size. */
  readonly console: boolean;
}

/** Bytes of a port's name. */
export const PORT_NAME_MAX = 128;

/** What a port has to tell the driver; sent in this order. */
export type PortNews = 'add' | 'console' | 'name' | 'resize' | 'open' | 'remove';
export const NEWS_IN_ORDER: readonly PortNews[] = ['add', 'console', 'name', 'resize', 'open', 'remove'];

/** What a port needs of its device. */
export interface PortHost {
  /** There is news for the driver. */
  news(port: ConsolePort): void;
  /** The port's terminal changed its size. */
  resized(port: ConsolePort): void;
}

/**
 * A port of a console device: a line between a pair of queues and whatever a {@link StreamSource} brings. One that is
 * closed at one side stays open for the other direction until that is closed too: each side's PORT_OPEN with value 0 says
 * that it sends no more, after everything that it sent before.
 */
export class ConsolePort {
  readonly id: number;
  readonly name: string | undefined;
  readonly isConsole: boolean;
  /** Characters. */
  cols = 80;
  rows = 25;
  /** What the driver has not been told yet. */
  readonly news = new Set<PortNews>();
  readonly #host: PortHost;
  readonly #source: StreamSource;
  #stream: ByteStream | undefined;
  #receive: RoomQueue | undefined;
  #transmit: TransmitQueue | undefined;
  #multiport = false;
  /** The driver was told of the port (DEVICE_ADD), in this life of the device. */
  #added = false;
  /** The driver is ready for the port (PORT_READY). */
  #ready = false;
  #guestOpen = false;
  /** The guest closed the port under the connection that is open: it sends nothing more to it. */
  #guestEnded = false;
  /** The connection's input was handed to the guest to its end. */
  #inputEnded = false;
  /** No connection will come any more. */
  #gone = false;

  constructor(id: number, options: ConsolePortOptions, host: PortHost) {
    this.id = id;
    this.name = options.name;
    this.isConsole = options.console;
    this.#host = host;
    this.#source = options.source;
  }

  /** Lets connections come. */
  start(): void {
    this.#source.open({
      connected: (stream) => this.#connected(stream),
      resized: (cols, rows) => this.#resized(cols, rows),
      gone: () => {
        this.#gone = true;
        this.#removeIfOver();
      },
    });
  }

  /** Whether somebody at the other end still sends. */
  get open(): boolean {
    return this.#stream !== undefined && !this.#inputEnded;
  }

  /** The port's queues run. */
  activate(io: DeviceIo, multiport: boolean): void {
    this.#multiport = multiport;
    this.#receive = RoomQueue.of(io, consoleReceiveq(this.id), 1, () => this.#pumpIn());
    this.#transmit = TransmitQueue.of(io, consoleTransmitq(this.id), () => this.#pumpOut());
    this.#added = this.#ready = this.#guestOpen = !multiport;
  }

  /** The queues go on as they were saved; the driver had the port open, as far as can be known. */
  resume(): void {
    this.#added = this.#ready = this.#guestOpen = true;
    this.#tell('open');
    this.#receive?.resume();
    this.#transmit?.resume();
  }

  /** The queues are gone; the connection stays. */
  deactivate(): void {
    this.#receive?.drop();
    this.#transmit?.drop();
    this.#receive = undefined;
    this.#transmit = undefined;
    this.#added = this.#ready = this.#guestOpen = false;
    this.news.clear();
  }

  /** The driver resets one of the queues (2.6.1). */
  resetQueue(queue: number): void {
    if (queue === consoleReceiveq(this.id)) this.#receive?.giveBack();
    else this.#transmit?.giveBack();
  }

  /** Looks at both queues. */
  pass(): void {
    this.#receive?.pass();
    this.#transmit?.pass();
  }

  /** A character that a guest wrote without queues (5.3.5); lost if there is nobody to read it. */
  emergency(character: number): void {
    this.#stream?.write(Uint8Array.of(character));
  }

  /** The driver wants to know of ports. */
  add(): void {
    if (this.#added || this.#gone) return;
    this.#added = true;
    this.#tell('add');
  }

  /** The driver answered DEVICE_ADD: it will use the port, or not. */
  portReady(ready: boolean): void {
    if (!this.#added) return;
    this.#ready = ready;
    if (!ready) return;
    if (this.isConsole) this.#tell('console', 'resize');
    if (this.name !== undefined) this.#tell('name');
    if (this.open) this.#tell('open');
    this.#pumpIn();
  }

  /** The guest opened or closed the port. */
  guestOpened(open: boolean): void {
    if (!this.#ready) return;
    if (this.#guestOpen && !open) {
      // What the guest sent before it closed lies in the queue, and goes out first.
      this.#transmit?.pass();
      this.#guestEnded = true;
      this.#pumpOut();
    }
    if (open) this.#guestEnded = false;
    this.#guestOpen = open;
    this.#pumpIn();
  }

  /** The news was told. */
  told(news: PortNews): void {
    this.news.delete(news);
    if (news !== 'remove') return;
    this.#added = this.#ready = this.#guestOpen = false;
    this.news.clear();
  }

  close(): Promise<void> {
    return this.#source.close();
  }

  #connected(stream: ByteStream): void {
    this.#stream = stream;
    this.#guestEnded = this.#inputEnded = false;
    stream.handler = {
      readable: () => this.#pumpIn(),
      writable: () => this.#pumpOut(),
      closed: () => {
        this.#pumpIn();
        this.#pumpOut();
      },
    };
    this.#tell('open');
    this.#pumpIn();
    this.#pumpOut();
  }

  #resized(cols: number, rows: number): void {
    if (cols === this.cols && rows === this.rows) return;
    this.cols = cols;
    this.rows = rows;
    if (this.isConsole) this.#tell('resize');
    this.#host.resized(this);
  }

  #tell(...news: readonly PortNews[]): void {
    if (!this.#multiport || !this.#added) return;
    // DEVICE_ADD comes before PORT_READY, everything else after it.
    for (const item of news) if (this.#ready || item === 'add' || item === 'remove') this.news.add(item);
    if (this.news.size > 0) this.#host.news(this);
  }

  /** From the connection to the guest. */
  #pumpIn(): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    // A guest that closed the port under this connection may still take what comes; for the next one it opens again.
    if (this.#guestOpen || this.#guestEnded) {
      for (let filled = 1; filled > 0; ) filled = this.#receive?.fill((room) => stream.read(room)) ?? 0;
    }
    if (this.#inputEnded || !(stream.ended || (stream.closed && stream.available === 0))) return;
    this.#inputEnded = true;
    this.#tell('open');
    // What a console shows has no end; other ports are closed by the guest as well.
    if (!this.#multiport || this.isConsole) stream.giveWay();
    this.#pumpOut();
  }

  /** From the guest to the connection. */
  #pumpOut(): void {
    const stream = this.#stream;
    if (stream === undefined) return;
    if (stream.writable) this.#transmit?.drain((bytes) => stream.write(bytes));
    if (this.#guestEnded && stream.writable && this.#transmit?.empty !== false) stream.end();
    if (!stream.closed || !this.#inputEnded) return;
    this.#stream = undefined;
    stream.handler = IGNORE;
    stream.destroy();
    this.#removeIfOver();
  }

  #removeIfOver(): void {
    if (this.#gone && this.#stream === undefined) this.#tell('remove');
  }
}
