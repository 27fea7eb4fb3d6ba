import { acceptable, be16, Cursor, type FramePort, type Offloads, Patience, peek, readHeader } from '@remio/ethernet';
import {
  NET_GSO_FRAME_MAX,
  NET_HEADER_FLAGS,
  NET_HEADER_NUM_BUFFERS,
  NET_HEADER_SIZE,
  VIRTIO_NET_HDR_F_DATA_VALID,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_NONE,
} from '@remio/virtio-spec';
import type { Chain, Segment, Used } from '@remio/virtqueue';
import type { DeviceIo } from '../device.js';
import { allLocal } from '../segments.js';
import type { ChainFlow } from './chain-flow.js';
import { ETHERNET_HEADER, frameMax, type NetCounters } from './limits.js';
import type { RxFilter } from './rx-filter.js';

/** Frames of one pass. */
const BATCH = 64;
/** Bytes of a frame's start that decide: header, addresses, VLAN tag. */
const HEAD_BYTES = NET_HEADER_SIZE + ETHERNET_HEADER + 4;

/** A buffer that the driver posted, ready to be filled. */
interface Room {
  readonly head: number;
  readonly segments: readonly Segment[];
  readonly views: readonly Uint8Array[];
  readonly length: number;
}

/** What a receive queue is made with. */
export interface ReceiveSettings {
  readonly port: FramePort;
  readonly lane: number;
  /** MRG_RXBUF was negotiated: a frame may take several buffers. */
  readonly mergeable: boolean;
  readonly mtu: number;
  readonly filter: RxFilter;
  /** What the driver accepts now. */
  accepts(): Offloads;
}

/**
 * Serves a receive queue (5.1.9.3, 5.1.9.4): the port fills the driver's buffers where they lie. Without buffers nothing
 * is taken from the port, so a driver that posts none costs no memory here, and its frames are lost at the port.
 */
export class ReceiveQueue {
  readonly #io: DeviceIo;
  readonly #index: number;
  readonly #flow: ChainFlow;
  readonly #settings: ReceiveSettings;
  readonly #counters: NetCounters;
  readonly #head = new Uint8Array(HEAD_BYTES);
  /** Its parts. */
  readonly #header = this.#head.subarray(0, NET_HEADER_SIZE);
  readonly #ethernet = this.#head.subarray(NET_HEADER_SIZE);
  /** Buffers taken from the ring, oldest first, and their bytes. */
  readonly #rooms: Room[] = [];
  #bytes = 0;
  readonly #patience = new Patience();
  /** Taken from the ring, memory not local yet. */
  #staged: Chain | undefined;
  #deferred = false;
  /** Something that is needed is not local yet. */
  #waits = false;

  constructor(io: DeviceIo, index: number, flow: ChainFlow, settings: ReceiveSettings, counters: NetCounters) {
    this.#io = io;
    this.#index = index;
    this.#flow = flow;
    this.#settings = settings;
    this.#counters = counters;
  }

  resume(): void {
    this.#flow.resume();
    this.#defer();
  }

  /** Fills what can be filled: when the port has frames, on a notification, and when memory that it lacked is local. */
  pass(): void {
    if (this.#flow.flush()) this.#fill();
    if (this.#flow.stuck) this.#wait();
    if (this.#flow.takeDirty()) this.#io.used(this.#index);
  }

  /** The driver reset the device: its buffers are not filled any more. */
  release(): void {
    for (const { segments } of this.#rooms.splice(0)) this.#release(segments);
    this.#bytes = 0;
  }

  /** The driver resets the queue: its buffers go back as they are. */
  end(): void {
    const heads = this.#rooms.map(({ head }) => head);
    this.release();
    if (this.#staged !== undefined) heads.push(this.#staged.head);
    this.#staged = undefined;
    for (const head of heads) this.#flow.use([{ head, written: 0 }]);
    this.#flow.end();
  }

  /** @param idle whether nothing was there: whoever may be about to send goes first */
  #defer(idle = false): void {
    if (this.#deferred) return;
    this.#deferred = true;
    const pass = (): void => {
      this.#deferred = false;
      this.pass();
    };
    this.#io.defer(pass, idle, this.#index);
  }

  #fill(): void {
    const { port, lane } = this.#settings;
    for (let frames = 0; frames < BATCH; frames += 1) {
      if (!this.#gather(this.#wanted())) return;
      const room = this.#room();
      const length = port.receive(lane, room);
      if (length === 0) {
        if (port.polled && this.#patience.again()) this.#defer(true);
        else port.listen(lane);
        return;
      }
      this.#patience.found(1);
      if (length > 0) this.#deliver(room, length);
      else if (!this.#makeRoom(-length)) return;
    }
    this.#defer();
  }

  /** Bytes of buffers to have at hand: the largest frame that may come, if it may take several. */
  #wanted(): number {
    if (!this.#settings.mergeable) return 1;
    const { tso4, tso6 } = this.#settings.accepts();
    return NET_HEADER_SIZE + (tso4 || tso6 ? NET_GSO_FRAME_MAX : frameMax(this.#settings.mtu, 0) + 4);
  }

  /** Takes buffers until there are `bytes` of them; false if there are none at all, or nothing can go on now. */
  #gather(bytes: number): boolean {
    while (this.#bytes < bytes) {
      const step = this.#take();
      if (step === 'stop') return false;
      if (step === 'empty') break;
    }
    if (this.#rooms.length > 0) return true;
    return this.#await();
  }

  /** Asks for a notification, and looks once more (2.7.10); false if there is still nothing. */
  #await(): boolean {
    const { queue } = this.#flow;
    queue.setNotifications(true);
    if (this.#take() !== 'taken') return false;
    queue.setNotifications(false);
    return true;
  }

  /** The next frame takes `bytes`; false if it has to wait for more buffers. */
  #makeRoom(bytes: number): boolean {
    const { port, lane, mergeable } = this.#settings;
    if (mergeable) {
      while (this.#bytes < bytes && this.#rooms.length < this.#flow.queue.size) {
        const step = this.#take();
        if (step === 'stop') return false;
        if (step === 'empty' && !this.#await()) return false;
      }
      if (this.#bytes >= bytes) return true;
    }
    // It fits in nothing that the driver may post.
    this.#counters.rxOversize += 1;
    port.skip(lane);
    return true;
  }

  /** Memory is not local yet: nothing can go on now. */
  #wait(): 'stop' {
    if (this.#waits) return 'stop';
    this.#waits = true;
    this.#io.whenLocal(() => {
      this.#waits = false;
      this.pass();
    });
    return 'stop';
  }

  /** Takes one buffer from the ring. */
  #take(): 'taken' | 'empty' | 'stop' {
    for (;;) {
      let chain = this.#staged;
      if (chain === undefined) {
        const popped = this.#flow.next();
        switch (popped.kind) {
          case 'chain':
            chain = popped.chain;
            break;
          case 'rejected':
            this.#refuse(popped.head);
            continue;
          case 'empty':
            return 'empty';
          case 'wait':
            return this.#wait();
          case 'broken':
            this.#io.broken(this.#index, popped.error);
            return 'stop';
        }
      }
      if (chain.readableLength > 0 || chain.writableLength < NET_HEADER_SIZE) {
        this.#refuse(chain.head);
        continue;
      }
      const { memory } = this.#io;
      if (!allLocal(memory, chain.writable, 'write')) {
        this.#staged = chain;
        return this.#wait();
      }
      this.#staged = undefined;
      for (const { offset, length } of chain.writable) memory.hold(offset, length);
      const views = chain.writable.map(({ offset, length }) => memory.bytes(offset, length));
      this.#rooms.push({ head: chain.head, segments: chain.writable, views, length: chain.writableLength });
      this.#bytes += chain.writableLength;
      return 'taken';
    }
  }

  /** Gives back a buffer that is of no use. */
  #refuse(head: number): void {
    this.#counters.rxInvalid += 1;
    this.#flow.use([{ head, written: 0 }]);
  }

  /** What the port may fill: one buffer, or all that are at hand. */
  #room(): readonly Uint8Array[] {
    const [first] = this.#rooms;
    if (first === undefined) return [];
    if (!this.#settings.mergeable || first.length >= this.#wanted()) return first.views;
    return this.#rooms.flatMap(({ views }) => views);
  }

  /** A frame of `length` bytes, header included, lies in the buffers; one that is not wanted is overwritten by the next. */
  #deliver(room: readonly Uint8Array[], length: number): void {
    const counters = this.#counters;
    const { filter, mtu } = this.#settings;
    const accepts = this.#settings.accepts();
    const head = this.#head;
    const header = this.#header;
    const ethernet = this.#ethernet;
    head.fill(0, peek(room, head));
    const bytes = length - NET_HEADER_SIZE;
    const parsed = readHeader(header);
    const large = parsed.gsoType !== VIRTIO_NET_HDR_GSO_NONE;
    if (
      bytes < ETHERNET_HEADER ||
      (!large && bytes > frameMax(mtu, be16(ethernet, 12))) ||
      !acceptable(parsed, bytes, accepts)
    ) {
      counters.rxOversize += 1;
      return;
    }
    if (!filter.wants(ethernet)) {
      counters.rxFiltered += 1;
      return;
    }
    let used = 0;
    let covered = 0;
    for (const { length: part } of this.#rooms) {
      if (covered >= length) break;
      covered += part;
      used += 1;
    }
    header[NET_HEADER_FLAGS] =
      parsed.flags & (accepts.csum ? VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID : 0);
    header[NET_HEADER_NUM_BUFFERS] = used & 0xff;
    header[NET_HEADER_NUM_BUFFERS + 1] = used >>> 8;
    new Cursor(room).put(header);
    this.#use(used, length);
    counters.rxFrames += 1;
    counters.rxBytes += bytes;
  }

  /** Returns the first `count` buffers, with `length` bytes in them: all full but the last (5.1.9.4.1). */
  #use(count: number, length: number): void {
    const { memory } = this.#io;
    const returned: Used[] = [];
    let left = length;
    for (const { head, segments, length: room } of this.#rooms.splice(0, count)) {
      const written = Math.min(left, room);
      let filled = written;
      for (const { offset, length: bytes } of segments) {
        if (filled > 0) memory.written(offset, Math.min(filled, bytes));
        filled = Math.max(0, filled - bytes);
      }
      this.#release(segments);
      this.#bytes -= room;
      left -= written;
      returned.push({ head, written });
    }
    this.#flow.use(returned);
  }

  #release(segments: readonly Segment[]): void {
    for (const { offset, length } of segments) this.#io.memory.release(offset, length);
  }
}
