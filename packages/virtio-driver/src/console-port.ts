import type { GuestCpu } from '@remio/guest';
import type { ReceiveRing, SendRing } from './buffer-rings.js';
import type { DriverError } from './driver-error.js';

/** A terminal's size, characters. */
export interface ConsoleSize {
  readonly cols: number;
  readonly rows: number;
}

/** A port of a console device, driver side: a line of bytes both ways. */
export class ConsolePort {
  readonly id: number;
  /** What the device calls it; undefined as long as it has not. */
  name: string | undefined;
  /** Whether the device wants it treated as a console. */
  isConsole = false;
  /** The device has this port. */
  present = false;
  size: ConsoleSize | undefined;
  /** What the device is still to be told. */
  readonly news = new Set<'ready' | 'open'>();
  readonly #receive: ReceiveRing;
  readonly #send: SendRing;
  /** There was more to send than room for it. */
  #blocked = false;
  #hostOpen = false;
  #guestOpen = false;
  #closing = false;
  /** The other side closed the port, and nobody has seen it yet. */
  #endUnseen = false;

  constructor(id: number, receive: ReceiveRing, send: SendRing) {
    this.id = id;
    this.#receive = receive;
    this.#send = send;
  }

  /** The other side has the port open; without MULTIPORT nobody says, and it always has. */
  get hostOpen(): boolean {
    return this.#hostOpen;
  }

  /** This side has the port open, or what it sent before it closed is not all gone yet. */
  get guestOpen(): boolean {
    return this.#guestOpen;
  }

  /** Whether there is nothing to take. */
  get empty(): boolean {
    return this.#receive.empty;
  }

  /** Whether the other side closed the port and everything that it sent was taken: true once for each time. */
  takeEnd(): boolean {
    if (!this.#endUnseen || !this.#receive.empty) return false;
    this.#endUnseen = false;
    return true;
  }

  /**
   * Gives what came to a sink, in order, until it takes no more.
   * @param sink takes as many of the bytes as it can
   */
  drain(sink: (bytes: Uint8Array) => number): void {
    this.#receive.drain(sink);
  }

  /**
   * Sends what a source gives, as far as there is room.
   * @param source fills as much of a buffer as it can
   * @returns bytes that were sent
   */
  fill(source: (buffer: Uint8Array) => number): number {
    let sent = 0;
    while (this.#send.room) {
      const count = this.#send.fill(source);
      sent += count;
      if (count === 0) return sent;
    }
    this.#blocked = true;
    return sent;
  }

  /** Opens the port at this side. */
  open(): void {
    if (this.#guestOpen && !this.#closing) return;
    this.#closing = false;
    this.#guestOpen = true;
    this.news.add('open');
  }

  /** Closes the port at this side, after everything that was sent has arrived at the device. */
  close(): void {
    if (this.#guestOpen) this.#closing = true;
  }

  /** The other side opened or closed the port. */
  hostOpened(open: boolean): void {
    this.#endUnseen = this.#hostOpen && !open;
    this.#hostOpen = open;
  }

  /** The only port of a device without MULTIPORT: it is there, and open. */
  alone(): void {
    this.present = this.isConsole = this.#hostOpen = this.#guestOpen = true;
  }

  /** The device has no such port any more. */
  remove(): void {
    this.#endUnseen = this.#hostOpen;
    this.present = this.isConsole = this.#hostOpen = this.#guestOpen = this.#closing = false;
    this.name = undefined;
    this.news.clear();
  }

  /** Takes over what the device has used; returns what is wrong with the rings, if anything is. */
  reap(): DriverError | undefined {
    return this.#receive.reap() ?? this.#send.reap();
  }

  /**
   * Lets the device see what was sent and what room there is.
   * @returns whether something has happened meanwhile that is to be looked at
   */
  async publish(cpu: GuestCpu): Promise<boolean> {
    await this.#send.publish(cpu);
    await this.#receive.publish(cpu);
    const waiting = this.#blocked || (this.#closing && !this.#send.idle);
    this.#blocked = false;
    let changed = this.#send.setInterrupts(waiting) && waiting;
    if (this.#closing && this.#send.idle) {
      this.#closing = this.#guestOpen = false;
      this.news.add('open');
      changed = true;
    }
    return changed;
  }
}
