import { assert } from '@remio/base';
import { NET_HEADER_SIZE, VIRTIO_NET_HDR_GSO_NONE } from '@remio/virtio-spec';
import { Cursor, lengthOf } from './bytes.js';
import { completeChecksum } from './checksum.js';
import { FlowSteering } from './flow.js';
import { ALL_OFFLOADS, type FramePort, NO_OFFLOADS, type Offloads, type PortUser } from './frame-port.js';
import { acceptable, type FrameHeader, readHeader } from './header.js';
import { segmentTcp } from './segment.js';

/** What may wait at a lane for its user: a burst of a TCP window, no more. */
const QUEUE_FRAMES_MAX = 1024;
const QUEUE_BYTES_MAX = 8 * 1024 * 1024;
/** Most lanes of a port. */
const LANES_MAX = 64;

const PLAIN_HEADER = new Uint8Array(NET_HEADER_SIZE);

/** What the switch does for its ports. */
export interface PortSwitch {
  forward(lane: number, header: Uint8Array, frame: readonly Uint8Array[]): boolean;
  remove(): void;
}

/** A frame on its way to the user, header included: parts of somebody else's memory, or a copy. */
interface Waiting {
  readonly parts: readonly Uint8Array[];
  readonly length: number;
}

/** One lane of a port: frames that wait for the user, oldest first. */
class Lane {
  readonly #queue: (Waiting | undefined)[] = [];
  #head = 0;
  #bytes = 0;
  /** The frame that is being delivered: read where it lies, not copied. */
  passing: Waiting | undefined;
  listening = false;

  get next(): Waiting | undefined {
    return this.#queue[this.#head] ?? this.passing;
  }

  get empty(): boolean {
    return this.#head === this.#queue.length;
  }

  /** Takes the next frame out. */
  shift(): void {
    const first = this.#queue[this.#head];
    if (first === undefined) {
      this.passing = undefined;
      return;
    }
    this.#bytes -= first.length;
    this.#queue[this.#head] = undefined;
    this.#head += 1;
    if (this.#head < QUEUE_FRAMES_MAX && this.#head < this.#queue.length) return;
    this.#queue.splice(0, this.#head);
    this.#head = 0;
  }

  /** Copies a frame to the end of the queue; false if that is full. */
  push({ parts, length }: Waiting): boolean {
    if (this.#queue.length - this.#head >= QUEUE_FRAMES_MAX || this.#bytes + length > QUEUE_BYTES_MAX) return false;
    const copy = new Uint8Array(length);
    new Cursor(parts).get(copy);
    this.#queue.push({ parts: [copy], length });
    this.#bytes += length;
    return true;
  }
}

/** A port of a switch. A user that accepts less than a frame leaves to it gets the checksum done and the frame cut. */
export class SwitchPort implements FramePort {
  readonly name: string;
  readonly offloads: Offloads = ALL_OFFLOADS;
  readonly linkUp = true;
  readonly polled = false;
  readonly lanesMax = LANES_MAX;
  readonly #switch: PortSwitch;
  readonly #steering = new FlowSteering();
  #lanes: readonly Lane[] = [];
  #accepts: Offloads = NO_OFFLOADS;
  #user: PortUser | undefined;

  constructor(name: string, owner: PortSwitch) {
    this.name = name;
    this.#switch = owner;
  }

  open(user: PortUser): void {
    assert(this.#user === undefined, `port ${this.name} has one user`);
    this.#user = user;
    this.configure(NO_OFFLOADS, 1);
  }

  configure(accepts: Offloads, lanes: number): void {
    assert(lanes >= 1 && lanes <= LANES_MAX, `a port has 1 to ${LANES_MAX} lanes`);
    this.#accepts = accepts;
    if (lanes === this.#lanes.length) return;
    this.#steering.setLanes(lanes);
    this.#lanes = Array.from({ length: lanes }, (_, n) => this.#lanes[n] ?? new Lane());
  }

  transmit(lane: number, header: Uint8Array, frame: readonly Uint8Array[]): boolean {
    return this.#user !== undefined && this.#switch.forward(lane, header, frame);
  }

  receive(lane: number, room: readonly Uint8Array[]): number {
    const from = this.#lanes[lane];
    const next = from?.next;
    if (from === undefined || next === undefined) return 0;
    if (lengthOf(room) < next.length) return -next.length;
    const to = new Cursor(room);
    for (const part of next.parts) to.put(part);
    from.shift();
    return next.length;
  }

  skip(lane: number): void {
    this.#lanes[lane]?.shift();
  }

  listen(lane: number): void {
    const at = this.#lanes[lane];
    if (at !== undefined) at.listening = true;
  }

  shut(): void {
    this.#user = undefined;
    this.#lanes = [];
    this.#steering.setLanes(1);
  }

  close(): Promise<void> {
    this.shut();
    this.#switch.remove();
    return Promise.resolve();
  }

  /** The user sent a frame: its flow comes back on that lane. */
  sent(lane: number, head: Uint8Array, length: number): void {
    this.#steering.sent(lane, head, length);
  }

  /**
   * A frame for the user, from another port.
   * @param head the frame's first bytes, `seen` of them
   * @returns false if it was lost
   */
  deliver(header: Uint8Array, frame: readonly Uint8Array[], length: number, head: Uint8Array, seen: number): boolean {
    const user = this.#user;
    const lane = this.#steering.laneOf(head, seen);
    const to = this.#lanes[lane];
    if (user === undefined || to === undefined) return false;
    const parsed = readHeader(header);
    if (acceptable(parsed, length, this.#accepts)) {
      return pass(user, lane, to, { parts: [header, ...frame], length: header.length + length });
    }
    // Nobody sends what makes no sense; the user may merely not accept what others leave to it.
    if (!acceptable(parsed, length, ALL_OFFLOADS)) return false;
    const whole = new Uint8Array(length);
    new Cursor(frame).get(whole);
    const finished = this.#finish(whole, parsed);
    if (finished === undefined) return false;
    let all = true;
    for (const one of finished) {
      const waiting = { parts: [PLAIN_HEADER, one], length: NET_HEADER_SIZE + one.length };
      all = pass(user, lane, to, waiting) && all;
    }
    return all;
  }

  /** Does what was left to the user and it does not accept. */
  #finish(frame: Uint8Array, header: FrameHeader): readonly Uint8Array[] | undefined {
    if (header.gsoType !== VIRTIO_NET_HDR_GSO_NONE) return segmentTcp(frame, header);
    completeChecksum(frame, header.csumStart, header.csumOffset);
    return [frame];
  }
}

/** Hands a frame over at once if the user waits for it, or queues a copy; false if it is lost. */
function pass(user: PortUser, lane: number, to: Lane, frame: Waiting): boolean {
  if (to.empty && to.listening) {
    to.listening = false;
    to.passing = frame;
    user.readable(lane);
    if (to.passing === undefined) return true;
    to.passing = undefined;
  }
  return to.push(frame);
}
