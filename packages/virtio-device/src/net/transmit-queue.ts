import { acceptable, be16, type FramePort, type Offloads, Patience, part, peek, readHeader } from '@remio/ethernet';
import {
  NET_GSO_FRAME_MAX,
  NET_HEADER_CSUM_OFFSET,
  NET_HEADER_FLAGS,
  NET_HEADER_GSO_SIZE,
  NET_HEADER_GSO_TYPE,
  NET_HEADER_HDR_LEN,
  NET_HEADER_SIZE,
  VIRTIO_NET_HDR_F_NEEDS_CSUM,
  VIRTIO_NET_HDR_GSO_NONE,
} from '@remio/virtio-spec';
import type { Chain } from '@remio/virtqueue';
import type { DeviceIo } from '../device.js';
import { allLocal } from '../segments.js';
import type { ChainFlow } from './chain-flow.js';
import { ETHERNET_HEADER, frameMax, type NetCounters } from './limits.js';

/** Frames of one pass: what a driver sends without end must not starve other devices. */
const BATCH = 64;
/** Serves a transmit queue (5.1.9.2): takes frames and gives them to the port. */
export class TransmitQueue {
  readonly #io: DeviceIo;
  readonly #index: number;
  readonly #flow: ChainFlow;
  readonly #port: FramePort;
  readonly #lane: number;
  /** What the driver may leave to the device: negotiated. */
  readonly #leaves: Offloads;
  readonly #mtu: number;
  readonly #counters: NetCounters;
  readonly #header = new Uint8Array(NET_HEADER_SIZE);
  readonly #type = new Uint8Array(ETHERNET_HEADER);
  /** Taken from the ring, memory not local yet. */
  #staged: Chain | undefined;
  readonly #patience = new Patience();
  #deferred = false;
  /** Something that is needed is not local yet. */
  #waits = false;

  constructor(
    io: DeviceIo,
    index: number,
    flow: ChainFlow,
    to: { readonly port: FramePort; readonly lane: number; readonly leaves: Offloads; readonly mtu: number },
    counters: NetCounters,
  ) {
    this.#io = io;
    this.#index = index;
    this.#flow = flow;
    this.#port = to.port;
    this.#lane = to.lane;
    this.#leaves = to.leaves;
    this.#mtu = to.mtu;
    this.#counters = counters;
  }

  resume(): void {
    this.#flow.resume();
    this.#defer();
  }

  /** The driver resets the queue: a frame that was not sent yet is lost. */
  end(): void {
    if (this.#staged !== undefined) this.#flow.use([{ head: this.#staged.head, written: 0 }]);
    this.#staged = undefined;
    this.#flow.end();
  }

  /** Sends what is there, and goes on when memory that it lacked is local. */
  pass(): void {
    this.#serve();
    if (this.#flow.stuck) this.#wait();
  }

  #serve(): void {
    const { queue } = this.#flow;
    queue.setNotifications(false);
    let sent = 0;
    let stopped = !this.#flow.flush();
    // What one look at far memory brought is gone after the pass.
    const batch = this.#io.memory.far ? queue.size : BATCH;
    while (!stopped && sent < batch) {
      const step = this.#step();
      if (step === 'empty') break;
      stopped = step === 'stop';
      if (!stopped) sent += 1;
    }
    if (this.#flow.takeDirty()) this.#io.used(this.#index);
    if (stopped) return;
    if (sent > 0) this.#patience.found(sent);
    // A look at far memory costs as much as a notification.
    if (sent > 0 || (!this.#io.memory.far && this.#patience.again())) {
      this.#defer(sent === 0);
      return;
    }
    // Nothing came for a while: ask for notifications, then look once more (2.7.10).
    queue.setNotifications(true);
    const last = this.#step();
    if (last === 'sent') {
      queue.setNotifications(false);
      this.#patience.found(1);
      if (this.#flow.takeDirty()) this.#io.used(this.#index);
      this.#defer();
    }
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

  #step(): 'sent' | 'empty' | 'stop' {
    let chain = this.#staged;
    if (chain === undefined) {
      const popped = this.#flow.next();
      switch (popped.kind) {
        case 'chain':
          chain = popped.chain;
          break;
        case 'rejected':
          this.#counters.txInvalid += 1;
          this.#flow.use([{ head: popped.head, written: 0 }]);
          return 'sent';
        case 'empty':
          return 'empty';
        case 'wait':
          return this.#wait();
        case 'broken':
          this.#io.broken(this.#index, popped.error);
          return 'stop';
      }
    }
    const { memory } = this.#io;
    if (!allLocal(memory, chain.readable, 'read')) {
      this.#staged = chain;
      return this.#wait();
    }
    this.#staged = undefined;
    this.#send(
      chain.readable.map(({ offset, length }) => memory.bytes(offset, length)),
      chain.readableLength,
    );
    this.#flow.use([{ head: chain.head, written: 0 }]);
    return 'sent';
  }

  /** Checks a frame against what was negotiated, and sends it; one that breaks a rule is lost and counted (A43). */
  #send(parts: readonly Uint8Array[], length: number): void {
    const counters = this.#counters;
    const bytes = length - NET_HEADER_SIZE;
    // Copied once: what is checked is what the port gets, whatever the driver writes meanwhile.
    const header = this.#header;
    if (bytes < ETHERNET_HEADER || bytes > NET_GSO_FRAME_MAX || peek(parts, header) < NET_HEADER_SIZE) {
      counters.txInvalid += 1;
      return;
    }
    const frame = part(parts, NET_HEADER_SIZE, length);
    const parsed = readHeader(header);
    peek(frame, this.#type);
    const large = parsed.gsoType !== VIRTIO_NET_HDR_GSO_NONE;
    if (!acceptable(parsed, bytes, this.#leaves) || (!large && bytes > frameMax(this.#mtu, be16(this.#type, 12)))) {
      counters.txInvalid += 1;
      return;
    }
    normalise(header, parsed.hdrLen, bytes);
    if (this.#port.transmit(this.#lane, header, frame)) {
      counters.txFrames += 1;
      counters.txBytes += bytes;
    } else counters.txLost += 1;
  }
}

/** Clears what the device must ignore (5.1.9.2.2), and makes the hint about the headers' length a possible one. */
function normalise(header: Uint8Array, hdrLen: number, bytes: number): void {
  const partial = (header[NET_HEADER_FLAGS] ?? 0) & VIRTIO_NET_HDR_F_NEEDS_CSUM;
  header[NET_HEADER_FLAGS] = partial;
  const hint = Math.min(hdrLen, bytes);
  header[NET_HEADER_HDR_LEN] = hint & 0xff;
  header[NET_HEADER_HDR_LEN + 1] = hint >>> 8;
  if (header[NET_HEADER_GSO_TYPE] === VIRTIO_NET_HDR_GSO_NONE)
    header.fill(0, NET_HEADER_GSO_SIZE, NET_HEADER_GSO_SIZE + 2);
  // csum_start and csum_offset lie next to each other, num_buffers behind them.
  header.fill(0, partial === 0 ? NET_HEADER_GSO_SIZE + 2 : NET_HEADER_CSUM_OFFSET + 2);
}
