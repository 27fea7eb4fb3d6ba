import { Cursor, type FramePort, lengthOf, NO_OFFLOADS, type Offloads, type PortUser } from '@remio/ethernet';
import { type Link, Returning } from './link.js';

/** Frames on their way, at most: more are lost. */
const FRAMES_MAX = 1024;
/** Bytes of an Ethernet address. */
const MAC_BYTES = 6;

/** Where frames leave a board in virtual time: a station at the other end of the link sends each of them back. */
export class EchoPort implements FramePort {
  readonly offloads: Offloads = NO_OFFLOADS;
  readonly linkUp = true;
  readonly polled = false;
  readonly lanesMax = 1;
  readonly #link: Link;
  readonly #frames: Returning<Uint8Array>;
  #user: PortUser | undefined;

  constructor(link: Link) {
    this.#link = link;
    this.#frames = new Returning(link, () => this.#user?.readable(0));
  }

  open(user: PortUser): void {
    this.#user = user;
  }

  configure(): void {
    // It leaves nothing to anybody, and has one lane.
  }

  transmit(_lane: number, header: Uint8Array, frame: readonly Uint8Array[]): boolean {
    const length = lengthOf(frame);
    this.#link.handled(length);
    if (this.#user === undefined || this.#frames.length >= FRAMES_MAX) return false;
    const back = new Uint8Array(header.length + length);
    new Cursor(frame).get(back.subarray(header.length));
    swapAddresses(back.subarray(header.length));
    this.#frames.add(this.#link.send(length), back);
    return true;
  }

  receive(_lane: number, room: readonly Uint8Array[]): number {
    const frame = this.#frames.next;
    if (frame === undefined) return 0;
    if (lengthOf(room) < frame.length) return -frame.length;
    this.#link.handled(frame.length);
    new Cursor(room).put(frame);
    this.#frames.shift();
    return frame.length;
  }

  skip(): void {
    this.#frames.shift();
  }

  listen(): void {
    this.#frames.listen();
  }

  shut(): void {
    this.#user = undefined;
    this.#frames.clear();
  }

  close(): Promise<void> {
    this.shut();
    return Promise.resolve();
  }
}

/** To whom the frame was from, and from whom it was to. */
function swapAddresses(frame: Uint8Array): void {
  if (frame.length < 2 * MAC_BYTES) return;
  const to = frame.slice(0, MAC_BYTES);
  frame.copyWithin(0, MAC_BYTES, 2 * MAC_BYTES);
  frame.set(to, MAC_BYTES);
}
