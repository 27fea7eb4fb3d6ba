import { type ByteStream, ChunkQueue, IGNORE } from '@remio/base';
import {
  VIRTIO_VSOCK_OP_CREDIT_REQUEST,
  VIRTIO_VSOCK_OP_CREDIT_UPDATE,
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RESPONSE,
  VIRTIO_VSOCK_OP_RST,
  VIRTIO_VSOCK_OP_RW,
  VIRTIO_VSOCK_OP_SHUTDOWN,
  VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE,
  VIRTIO_VSOCK_SHUTDOWN_F_SEND,
  VSOCK_HEADER_SIZE,
} from '@remio/virtio-spec';
import { makeHeader, type VsockFlow, type VsockHeader } from './header.js';

/** Bytes of a connection's receive buffer: what its peer may send before it was taken (buf_alloc, 5.10.6.3). */
export const BUF_ALLOC = 256 * 1024;

const BOTH = VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE | VIRTIO_VSOCK_SHUTDOWN_F_SEND;

/** Free-running 32-bit counters: the distance from `from` to `to`. */
const distance = (to: number, from: number): number => (to - from) >>> 0;

/** A packet to send: its header, and how to get its payload of `length` bytes. */
export interface OutgoingPacket {
  readonly header: Uint8Array;
  readonly length: number;
  /** Fills a part of the payload, in order. */
  read(part: Uint8Array): number;
}

/** What a connection needs of the endpoint that it belongs to. */
export interface ConnectionHost {
  /** The connection has something to send. */
  sendable(connection: VsockConnection): void;
  /** The connection is over; its flow may be used again. */
  over(connection: VsockConnection): void;
}

/** Told how an attempt to connect went. */
export type Connected = (established: boolean) => void;

type State = 'asking' | 'asked' | 'established' | 'over';

/**
 * One end of a stream connection (5.10.6.5) between a peer, who sends packets, and a {@link ByteStream} on this side. It
 * keeps at most {@link BUF_ALLOC} bytes; whatever the peer does against the rules ends this connection and nothing else.
 */
export class VsockConnection {
  readonly flow: VsockFlow;
  readonly #host: ConnectionHost;
  #state: State;
  #local: ByteStream | undefined;
  #onConnected: Connected | undefined;
  /** Received and not taken by the local side. */
  readonly #received = new ChunkQueue();
  #rxCount = 0;
  #fwdCount = 0;
  /** fwd_cnt as the peer knows it. */
  #fwdTold = 0;
  #txCount = 0;
  #peerAlloc = 0;
  #peerFwd = 0;
  /** SHUTDOWN flags that came, and that were sent. */
  #peerShut = 0;
  #shut = 0;
  #endSaid = false;
  #updateOwed = false;
  #creditAsked = false;
  #resetOwed = false;
  #openOwed: boolean;

  /** @param onConnected of a connection that this side asks for; absent: the peer did */
  constructor(flow: VsockFlow, host: ConnectionHost, onConnected?: Connected) {
    this.flow = flow;
    this.#host = host;
    this.#onConnected = onConnected;
    this.#state = onConnected === undefined ? 'asked' : 'asking';
    this.#openOwed = onConnected !== undefined;
  }

  /** Takes the credit of the peer's REQUEST over. */
  greet(header: VsockHeader): void {
    this.#peerAlloc = header.bufAlloc;
    if (header.fwdCnt !== 0) this.reset();
  }

  /** Joins the local side; of a connection that the peer asked for, this accepts it. */
  join(local: ByteStream): void {
    if (this.#state === 'over') {
      local.destroy();
      return;
    }
    this.#local = local;
    local.handler = {
      readable: () => this.#moved(),
      writable: () => this.#moved(),
      closed: () => this.#moved(),
    };
    if (this.#state === 'asked') {
      this.#state = 'established';
      this.#openOwed = true;
    }
    this.#moved();
    this.#host.sendable(this);
  }

  /** Ends the connection at once, both ways: the peer gets RST. */
  reset(): void {
    if (this.#state === 'over') return;
    this.#resetOwed = true;
    this.#dropLocal();
    this.#host.sendable(this);
  }

  /** The transport is gone: nobody is to be told. */
  abandon(): void {
    this.#dropLocal();
    this.#end();
  }

  /**
   * Takes a packet of the peer.
   * @param payload `header.length` bytes, valid during the call
   */
  receive(header: VsockHeader, payload: readonly Uint8Array[]): void {
    if (this.#resetOwed && header.op !== VIRTIO_VSOCK_OP_RST) return;
    if (header.op !== VIRTIO_VSOCK_OP_RST && !this.#credit(header)) {
      this.reset();
      return;
    }
    switch (header.op) {
      case VIRTIO_VSOCK_OP_RESPONSE:
        if (this.#state !== 'asking' || this.#openOwed) return this.reset();
        this.#state = 'established';
        this.#tellConnected(true);
        break;
      case VIRTIO_VSOCK_OP_RST:
        this.#peerReset();
        return;
      case VIRTIO_VSOCK_OP_RW:
        if (!this.#take(header.length, payload)) return this.reset();
        break;
      case VIRTIO_VSOCK_OP_SHUTDOWN:
        if (this.#state !== 'established') return this.reset();
        this.#peerShut |= header.flags & BOTH;
        break;
      case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
        break;
      case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
        this.#updateOwed = true;
        break;
      default:
        // REQUEST for a flow that is in use, or an operation that there is not.
        return this.reset();
    }
    this.#moved();
    if (this.#wants) this.#host.sendable(this);
  }

  /**
   * The next packet to send; undefined: nothing now.
   * @param room bytes, header included
   */
  next(room: number): OutgoingPacket | undefined {
    if (this.#resetOwed) {
      const packet = this.#control(VIRTIO_VSOCK_OP_RST);
      this.#end();
      return packet;
    }
    if (this.#openOwed) {
      this.#openOwed = false;
      return this.#control(this.#state === 'asking' ? VIRTIO_VSOCK_OP_REQUEST : VIRTIO_VSOCK_OP_RESPONSE);
    }
    if (this.#state !== 'established') return undefined;
    const length = Math.min(this.#sendableBytes, room - VSOCK_HEADER_SIZE);
    const local = this.#local;
    if (length > 0 && local !== undefined) {
      this.#txCount = (this.#txCount + length) >>> 0;
      const packet = this.#control(VIRTIO_VSOCK_OP_RW, length);
      let left = length;
      return {
        ...packet,
        read: (part) => {
          const count = local.read(part.subarray(0, left));
          left -= count;
          return count;
        },
      };
    }
    const flags = this.#wantedShut;
    if (flags !== this.#shut) {
      this.#shut = flags;
      return this.#control(VIRTIO_VSOCK_OP_SHUTDOWN, 0, flags);
    }
    if (this.#updateOwed) return this.#control(VIRTIO_VSOCK_OP_CREDIT_UPDATE);
    if (this.#wantsCredit) {
      this.#creditAsked = true;
      return this.#control(VIRTIO_VSOCK_OP_CREDIT_REQUEST);
    }
    return undefined;
  }

  /** Whether there is something to send. */
  get #wants(): boolean {
    if (this.#resetOwed || this.#openOwed) return true;
    if (this.#state !== 'established') return false;
    return this.#sendableBytes > 0 || this.#wantedShut !== this.#shut || this.#updateOwed || this.#wantsCredit;
  }

  /** Bytes that the local side has and the peer has room for. */
  get #sendableBytes(): number {
    if (this.#local === undefined || (this.#peerShut & VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE) !== 0) return 0;
    return Math.min(this.#local.available, this.#peerFree);
  }

  /** There is something to send, the peer has no room, and was not asked since it last said something. */
  get #wantsCredit(): boolean {
    const blocked = this.#local !== undefined && this.#local.available > 0 && this.#peerFree === 0;
    return blocked && !this.#creditAsked && (this.#peerShut & VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE) === 0;
  }

  /** 5.10.6.3. */
  get #peerFree(): number {
    return Math.max(0, this.#peerAlloc - distance(this.#txCount, this.#peerFwd));
  }

  get #wantedShut(): number {
    const local = this.#local;
    if (local === undefined) return this.#shut;
    const sent = local.ended || (local.closed && local.available === 0) ? VIRTIO_VSOCK_SHUTDOWN_F_SEND : 0;
    return this.#shut | sent | (local.closed ? VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE : 0);
  }

  /** Takes the peer's credit over; false if it claims to have got what was not sent. */
  #credit({ bufAlloc, fwdCnt }: VsockHeader): boolean {
    if (distance(fwdCnt, this.#peerFwd) > distance(this.#txCount, this.#peerFwd)) return false;
    if (fwdCnt !== this.#peerFwd || bufAlloc !== this.#peerAlloc) this.#creditAsked = false;
    this.#peerFwd = fwdCnt;
    this.#peerAlloc = bufAlloc;
    return true;
  }

  /** Takes payload; false if the peer must not send, or not so much. */
  #take(length: number, payload: readonly Uint8Array[]): boolean {
    if (this.#state !== 'established' || (this.#peerShut & VIRTIO_VSOCK_SHUTDOWN_F_SEND) !== 0) return false;
    if (distance(this.#rxCount, this.#fwdCount) + length > BUF_ALLOC) return false;
    this.#rxCount = (this.#rxCount + length) >>> 0;
    for (const bytes of payload) {
      const taken = this.#received.length === 0 ? this.#give(bytes) : 0;
      if (taken < bytes.length) this.#received.push(bytes.slice(taken));
    }
    return true;
  }

  /** Gives bytes to the local side; where nobody takes them any more, they are gone. */
  #give(bytes: Uint8Array): number {
    const local = this.#local;
    if (local === undefined) return 0;
    const count = local.writable ? local.write(bytes) : bytes.length;
    this.#fwdCount = (this.#fwdCount + count) >>> 0;
    return count;
  }

  /** Something has changed: moves what can be moved, and says what follows. */
  #moved(): void {
    const local = this.#local;
    if (local === undefined || this.#state === 'over') return;
    this.#received.drain((bytes) => this.#give(bytes));
    if (this.#received.length === 0 && (this.#peerShut & VIRTIO_VSOCK_SHUTDOWN_F_SEND) !== 0 && !this.#endSaid) {
      this.#endSaid = true;
      local.end();
    }
    if (this.#received.length === 0 && this.#peerShut === BOTH) {
      // 5.10.6.5: a clean disconnect is answered with RST.
      this.#resetOwed = true;
      this.#closeLocal();
    }
    if (distance(this.#fwdCount, this.#fwdTold) >= BUF_ALLOC / 2) this.#updateOwed = true;
    if (this.#wants) this.#host.sendable(this);
  }

  #peerReset(): void {
    this.#tellConnected(false);
    // After SHUTDOWN, or the answer to ours, the end is a clean one.
    if (this.#peerShut !== 0 || this.#shut === BOTH) {
      this.#received.drain((bytes) => this.#give(bytes));
      this.#closeLocal();
    } else this.#dropLocal();
    this.#end();
  }

  #end(): void {
    if (this.#state === 'over') return;
    this.#state = 'over';
    this.#resetOwed = this.#openOwed = false;
    this.#tellConnected(false);
    this.#host.over(this);
  }

  #tellConnected(established: boolean): void {
    const told = this.#onConnected;
    this.#onConnected = undefined;
    told?.(established);
  }

  #dropLocal(): void {
    const local = this.#local;
    this.#local = undefined;
    if (local === undefined) return;
    local.handler = IGNORE;
    local.destroy();
  }

  #closeLocal(): void {
    const local = this.#local;
    this.#local = undefined;
    if (local === undefined) return;
    local.handler = IGNORE;
    local.close();
  }

  #control(op: number, length = 0, flags = 0): OutgoingPacket {
    this.#updateOwed = false;
    this.#fwdTold = this.#fwdCount;
    const header = makeHeader(this.flow, { op, length, flags, bufAlloc: BUF_ALLOC, fwdCnt: this.#fwdCount });
    return { header, length, read: () => 0 };
  }
}
