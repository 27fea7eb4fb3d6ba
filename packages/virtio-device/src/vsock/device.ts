import { assert, type ByteStream } from '@remio/base';
import {
  DEVICE_ID_VSOCK,
  featureSet,
  isGuestCid,
  VIRTIO_VSOCK_EVENT_TRANSPORT_RESET,
  VIRTIO_VSOCK_F_STREAM,
  VSOCK_CID_HOST,
  VSOCK_CONFIG_GUEST_CID,
  VSOCK_CONFIG_SIZE,
  VSOCK_EVENT_SIZE,
  VSOCK_EVENTQ,
  VSOCK_HEADER_SIZE,
  VSOCK_RXQ,
  VSOCK_TXQ,
} from '@remio/virtio-spec';
import type { Chain } from '@remio/virtqueue';
import { type OutgoingPacket, readHeader, VsockEndpoint, type VsockRequest } from '@remio/vsock';
import type { DeviceIo, VirtioDevice } from '../device.js';
import { QueueServer } from '../queue-server.js';
import { RoomQueue } from '../room-queue.js';
import { allLocal, slice } from '../segments.js';
import type { VsockAddress, VsockGroup } from './group.js';
import { readConnect } from './handshake.js';

/** The programs of the host that a guest can talk to. */
export interface VsockOutside {
  /** Lets programs connect; called once. */
  open(connected: (stream: ByteStream) => void): void;
  /** Connects to the program behind a port of the host; undefined: nobody is there. */
  connect(port: number, done: (stream: ByteStream | undefined) => void): void;
  close(): Promise<void>;
}

/** The first port of those that stand for programs of the host that connected, as Firecracker's. */
const HOST_PORTS = 2 ** 30;
/** Programs of the host that connected and have not said to which port. */
const HANDSHAKES_MAX = 64;

/**
 * A socket device (5.10) for stream sockets: ports of the host lead to its programs, and they connect to ports of the
 * guest with a line `CONNECT PORT`, which is answered with `OK HOST_PORT`.
 */
export class VsockDevice implements VirtioDevice {
  readonly deviceId = DEVICE_ID_VSOCK;
  readonly features = featureSet(VIRTIO_VSOCK_F_STREAM);
  readonly queueCount = 3;
  readonly queueSizeMax = 128;
  readonly config = new Uint8Array(VSOCK_CONFIG_SIZE);
  readonly #cid: bigint;
  readonly #outside: VsockOutside;
  readonly #endpoint: VsockEndpoint;
  readonly #group: VsockGroup | undefined;
  #handshakes = 0;
  #hostPort = HOST_PORTS;
  #io: DeviceIo | undefined;
  #receive: RoomQueue | undefined;
  #events: RoomQueue | undefined;
  #transmit: QueueServer | undefined;
  #resetUntold = false;
  #pumping = false;
  /** The transmit queue waits for room for answers. */
  #held = false;

  /**
   * @param cid the guest's, 3 and up
   * @param group other guests that this one can reach, and that can reach it
   */
  constructor(cid: bigint, outside: VsockOutside, group?: VsockGroup) {
    assert(isGuestCid(cid), 'a guest has a CID that is not reserved');
    this.#cid = cid;
    new DataView(this.config.buffer).setBigUint64(VSOCK_CONFIG_GUEST_CID, cid, true);
    this.#endpoint = new VsockEndpoint({
      sendable: () => this.#pump(),
      requested: (request) => this.#requested(request),
    });
    this.#outside = outside;
    outside.open((stream) => this.#came(stream));
    this.#group = group;
    group?.join(cid, (from, port, stream, done) => this.#called(from, port, stream, done));
  }

  get counters(): Readonly<Record<string, number>> {
    return this.#endpoint.counters;
  }

  activate(io: DeviceIo): void {
    this.#io = io;
    // A packet without room for a byte would let data wait for ever.
    this.#receive = RoomQueue.of(io, VSOCK_RXQ, VSOCK_HEADER_SIZE + 1, () => this.#pump());
    this.#events = RoomQueue.of(io, VSOCK_EVENTQ, VSOCK_EVENT_SIZE, () => this.#tellReset());
    this.#transmit = QueueServer.of(io, VSOCK_TXQ, (chain) => this.#take(io, chain));
    this.#pass();
  }

  /** What the connections were is not part of a saved state: the driver is told that they are gone (5.10.6.7). */
  resume(): void {
    this.#resetUntold = true;
    this.#receive?.resume();
    this.#events?.resume();
    this.#transmit?.resume();
  }

  notify(queue: number): void {
    if (queue === VSOCK_RXQ) this.#receive?.pass();
    else if (queue === VSOCK_EVENTQ) this.#events?.pass();
    else this.#transmit?.pass();
  }

  resetQueue(queue: number): void {
    if (queue === VSOCK_RXQ) this.#receive?.giveBack();
    else if (queue === VSOCK_EVENTQ) this.#events?.giveBack();
  }

  reset(done: () => void): void {
    this.#io = undefined;
    this.#receive?.drop();
    this.#events?.drop();
    this.#receive = undefined;
    this.#events = undefined;
    this.#transmit = undefined;
    this.#resetUntold = false;
    this.#endpoint.abandon();
    done();
  }

  async close(): Promise<void> {
    this.#endpoint.abandon();
    this.#group?.leave(this.#cid);
    await this.#outside.close();
  }

  #pass(): void {
    this.#receive?.pass();
    this.#events?.pass();
    this.#transmit?.pass();
  }

  /** A program of the host connected. */
  #came(stream: ByteStream): void {
    if (this.#io === undefined || this.#handshakes >= HANDSHAKES_MAX) {
      stream.destroy();
      return;
    }
    this.#handshakes += 1;
    readConnect(stream, (port) => {
      this.#handshakes -= 1;
      if (port === undefined || this.#io === undefined) {
        stream.destroy();
        return;
      }
      const localPort = this.#nextPort();
      const flow = { localCid: VSOCK_CID_HOST, localPort, peerCid: this.#cid, peerPort: port };
      const connection = this.#endpoint.connect(flow, (established) => {
        if (!established) {
          stream.destroy();
          return;
        }
        stream.write(new TextEncoder().encode(`OK ${localPort}\n`));
        connection?.join(stream);
      });
      if (connection === undefined) stream.destroy();
    });
  }

  /** Another guest connects to a port of this one. */
  #called({ cid, port }: VsockAddress, to: number, stream: ByteStream, done: (established: boolean) => void): void {
    if (this.#io === undefined) {
      done(false);
      return;
    }
    const flow = { localCid: cid, localPort: port, peerCid: this.#cid, peerPort: to };
    const connection = this.#endpoint.connect(flow, (established) => {
      if (established) connection?.join(stream);
      done(established);
    });
    if (connection === undefined) done(false);
  }

  #nextPort(): number {
    this.#hostPort = this.#hostPort + 1 < 2 ** 31 ? this.#hostPort + 1 : HOST_PORTS;
    return this.#hostPort;
  }

  /** The guest asks for a connection. */
  #requested({ flow, accept, refuse }: VsockRequest): void {
    const connected = (stream: ByteStream | undefined): void => {
      if (stream === undefined) refuse();
      else accept(stream);
    };
    const { localCid, localPort, peerPort } = flow;
    if (localCid === VSOCK_CID_HOST) this.#outside.connect(localPort, connected);
    else if (this.#group === undefined) refuse();
    else this.#group.connect({ cid: this.#cid, port: peerPort }, { cid: localCid, port: localPort }, connected);
  }

  /** Takes a packet of the guest; when what it may be answered with has no room, it waits (5.10.6.1). */
  #take({ memory }: DeviceIo, chain: Chain): 'taken' | 'wait' {
    if (!this.#endpoint.receptive) {
      this.#held = true;
      return 'wait';
    }
    if (!allLocal(memory, chain.readable, 'read')) return 'wait';
    this.#transmit?.answer(chain.head, 0);
    if (chain.writable.length > 0 || chain.readableLength < VSOCK_HEADER_SIZE) return 'taken';
    const bytes = new Uint8Array(VSOCK_HEADER_SIZE);
    let at = 0;
    for (const { offset, length } of slice(chain.readable, 0, VSOCK_HEADER_SIZE)) {
      bytes.set(memory.bytes(offset, length), at);
      at += length;
    }
    const header = readHeader(bytes);
    // 5.10.6.4: a guest has its own CID and no other.
    if (header.srcCid !== this.#cid) return 'taken';
    const payload = slice(chain.readable, VSOCK_HEADER_SIZE, header.length).map(({ offset, length }) =>
      memory.bytes(offset, length),
    );
    this.#endpoint.receive(header, payload);
    return 'taken';
  }

  /** Sends as many packets as there is room for. */
  #pump(): void {
    const receive = this.#receive;
    if (receive === undefined || this.#pumping) return;
    this.#pumping = true;
    while (receive.room > 0) {
      const packet = this.#endpoint.next(receive.room);
      if (packet === undefined) break;
      receive.fill(filler(packet));
    }
    this.#pumping = false;
    // A guest that was made to wait can go on.
    if (!this.#held || !this.#endpoint.receptive) return;
    this.#held = false;
    this.#io?.defer(() => this.#transmit?.pass(), false, VSOCK_TXQ);
  }

  #tellReset(): void {
    if (!this.#resetUntold) return;
    const event = new Uint8Array(VSOCK_EVENT_SIZE);
    new DataView(event.buffer).setUint32(0, VIRTIO_VSOCK_EVENT_TRANSPORT_RESET, true);
    if (this.#events?.send(event) === true) this.#resetUntold = false;
  }
}

/** Writes a packet into the buffers of a chain, however they are cut. */
export function filler(packet: OutgoingPacket): (buffer: Uint8Array) => number {
  let at = 0;
  let left = packet.length;
  return (buffer) => {
    const head = packet.header.subarray(at, at + buffer.length);
    buffer.set(head);
    at += head.length;
    const count = left > 0 && head.length < buffer.length ? packet.read(buffer.subarray(head.length)) : 0;
    left -= count;
    return head.length + count;
  };
}
