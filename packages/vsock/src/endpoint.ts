import type { ByteStream } from '@remio/base';
import {
  VIRTIO_VSOCK_OP_REQUEST,
  VIRTIO_VSOCK_OP_RST,
  VIRTIO_VSOCK_TYPE_STREAM,
  VSOCK_HEADER_SIZE,
} from '@remio/virtio-spec';
import { type Connected, type OutgoingPacket, VsockConnection } from './connection.js';
import { makeHeader, type VsockFlow, type VsockHeader } from './header.js';

/** Connections of one endpoint; more are refused. */
export const CONNECTIONS_MAX = 256;
/** Resets owed to flows that have no connection; while there are so many, nothing more is received. */
const RESETS_MAX = 64;

/** A connection that the peer asks for. */
export interface VsockRequest {
  readonly flow: VsockFlow;
  accept(local: ByteStream): void;
  refuse(): void;
}

/** What an endpoint needs around it. */
export interface EndpointHost {
  /** There is something to send. */
  sendable(): void;
  /** The peer asks for a connection; it is accepted or refused, now or later. */
  requested(request: VsockRequest): void;
}

const keyOf = ({ localCid, localPort, peerCid, peerPort }: VsockFlow): string =>
  `${localCid}:${localPort}:${peerCid}:${peerPort}`;

/**
 * One end of a socket transport (5.10.6): its connections, and what is to be sent, a packet of each connection in turn.
 * What it keeps is bounded, whatever its peer sends.
 */
export class VsockEndpoint {
  /** Connections that were asked for, by either side, and packets for none that were answered with RST. */
  readonly counters = { connections: 0, refused: 0 };
  readonly #host: EndpointHost;
  readonly #connections = new Map<string, VsockConnection>();
  /** Connections that have something to send, in turn. */
  readonly #turn = new Set<VsockConnection>();
  /** Flows without a connection whose peers are owed RST. */
  readonly #resets: VsockFlow[] = [];

  constructor(host: EndpointHost) {
    this.#host = host;
  }

  /** Connections that there are, those that are being made or ended included. */
  get size(): number {
    return this.#connections.size;
  }

  /** Whether another packet can be received: there is room for what it may be answered with. */
  get receptive(): boolean {
    return this.#resets.length < RESETS_MAX;
  }

  /** Whether there is something to send. */
  get waiting(): boolean {
    return this.#resets.length > 0 || this.#turn.size > 0;
  }

  /**
   * Asks the peer for a connection.
   * @returns it, to be joined with the local side; undefined if there is no room for it
   */
  connect(flow: VsockFlow, connected: Connected): VsockConnection | undefined {
    const key = keyOf(flow);
    if (this.#connections.size >= CONNECTIONS_MAX || this.#connections.has(key)) return undefined;
    const connection = this.#add(key, flow, connected);
    this.#turn.add(connection);
    this.#host.sendable();
    return connection;
  }

  /**
   * Takes a packet of the peer.
   * @param payload its bytes, at least `header.length` if they are all there
   */
  receive(header: VsockHeader, payload: readonly Uint8Array[]): void {
    const flow = {
      localCid: header.dstCid,
      localPort: header.dstPort,
      peerCid: header.srcCid,
      peerPort: header.srcPort,
    };
    const key = keyOf(flow);
    const connection = this.#connections.get(key);
    const bytes = payload.reduce((sum, part) => sum + part.length, 0);
    // 5.10.6.4: an unknown type is answered with RST, and so is a length that is larger than the packet.
    if (header.type !== VIRTIO_VSOCK_TYPE_STREAM || bytes !== header.length) {
      if (connection !== undefined && header.type === VIRTIO_VSOCK_TYPE_STREAM) connection.reset();
      else if (header.op !== VIRTIO_VSOCK_OP_RST) this.#refuse(flow);
      return;
    }
    if (connection !== undefined) {
      connection.receive(header, payload);
      return;
    }
    if (header.op === VIRTIO_VSOCK_OP_RST) return;
    if (header.op !== VIRTIO_VSOCK_OP_REQUEST || this.#connections.size >= CONNECTIONS_MAX) {
      this.#refuse(flow);
      return;
    }
    const asked = this.#add(key, flow);
    asked.greet(header);
    this.#host.requested({ flow, accept: (local) => asked.join(local), refuse: () => asked.reset() });
  }

  /**
   * The next packet to send; undefined: nothing now.
   * @param room bytes, header included; more than a header
   */
  next(room: number): OutgoingPacket | undefined {
    const flow = this.#resets.shift();
    if (flow !== undefined) {
      return { header: makeHeader(flow, { op: VIRTIO_VSOCK_OP_RST }), length: 0, read: () => 0 };
    }
    for (const connection of this.#turn) {
      this.#turn.delete(connection);
      const packet = connection.next(Math.max(room, VSOCK_HEADER_SIZE));
      if (packet === undefined) continue;
      // It comes again after all others; when it has nothing more, that shows then.
      if (this.#connections.get(keyOf(connection.flow)) === connection) this.#turn.add(connection);
      return packet;
    }
    return undefined;
  }

  /** The transport is gone, and every connection with it. */
  abandon(): void {
    for (const connection of [...this.#connections.values()]) connection.abandon();
    this.#turn.clear();
    this.#resets.length = 0;
  }

  #add(key: string, flow: VsockFlow, connected?: Connected): VsockConnection {
    const connection = new VsockConnection(
      flow,
      {
        sendable: (one) => {
          this.#turn.add(one);
          this.#host.sendable();
        },
        over: (one) => {
          this.#turn.delete(one);
          if (this.#connections.get(key) === one) this.#connections.delete(key);
        },
      },
      connected,
    );
    this.#connections.set(key, connection);
    this.counters.connections += 1;
    return connection;
  }

  #refuse(flow: VsockFlow): void {
    if (!this.receptive) return;
    this.counters.refused += 1;
    this.#resets.push(flow);
    this.#host.sendable();
  }
}
