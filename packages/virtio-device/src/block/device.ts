import {
  BLK_CONFIG_BLK_SIZE,
  BLK_CONFIG_CAPACITY,
  BLK_CONFIG_NUM_QUEUES,
  BLK_CONFIG_SEG_MAX,
  BLK_CONFIG_SIZE,
  BLK_ID_SIZE,
  BLK_STATUS_SIZE,
  DEVICE_ID_BLOCK,
  featureSet,
  SECTOR_SIZE,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
} from '@remio/virtio-spec';
import type { Chain, Segment } from '@remio/virtqueue';
import type { DeviceIo, VirtioDevice } from '../device.js';
import { QueueServer } from '../queue-server.js';
import { type BlockRequest, parseBlockRequest } from './request.js';
import type { BlockStorage } from './storage.js';

/** How a block device presents itself. */
export interface BlockOptions {
  /** Identification string, up to 20 bytes of ASCII. */
  readonly id?: string;
  /** Request queues, 1 to 64. */
  readonly queues?: number;
  /** QueueSizeMax, a power of two. */
  readonly queueSize?: number;
}

/** A block device (5.2) on a {@link BlockStorage}. Data goes straight between the storage and guest memory. */
export class BlockDevice implements VirtioDevice {
  readonly deviceId = DEVICE_ID_BLOCK;
  readonly features: bigint;
  readonly queueCount: number;
  readonly queueSizeMax: number;
  readonly config: Uint8Array;
  readonly #storage: BlockStorage;
  readonly #id: Uint8Array;
  #io: DeviceIo | undefined;
  #servers: readonly (QueueServer | undefined)[] = [];
  /** Requests that the storage has, of this life and of former ones. */
  #inFlight = 0;
  #resetDone: (() => void) | undefined;

  constructor(storage: BlockStorage, options: BlockOptions = {}) {
    this.#storage = storage;
    this.queueCount = options.queues ?? 1;
    this.queueSizeMax = options.queueSize ?? 256;
    this.features =
      featureSet(
        VIRTIO_BLK_F_SEG_MAX,
        VIRTIO_BLK_F_BLK_SIZE,
        VIRTIO_BLK_F_FLUSH,
        VIRTIO_F_INDIRECT_DESC,
        VIRTIO_F_EVENT_IDX,
      ) |
      (this.queueCount > 1 ? featureSet(VIRTIO_BLK_F_MQ) : 0n) |
      (storage.readOnly ? featureSet(VIRTIO_BLK_F_RO) : 0n);
    this.config = new Uint8Array(BLK_CONFIG_SIZE);
    const view = new DataView(this.config.buffer);
    view.setBigUint64(BLK_CONFIG_CAPACITY, BigInt(Math.floor(storage.capacity / SECTOR_SIZE)), true);
    // A chain holds the header and the status besides its data segments.
    view.setUint32(BLK_CONFIG_SEG_MAX, Math.max(1, this.queueSizeMax - 2), true);
    view.setUint32(BLK_CONFIG_BLK_SIZE, SECTOR_SIZE, true);
    view.setUint16(BLK_CONFIG_NUM_QUEUES, this.queueCount, true);
    this.#id = new Uint8Array(BLK_ID_SIZE);
    this.#id.set(new TextEncoder().encode(options.id ?? 'remio').subarray(0, BLK_ID_SIZE));
  }

  activate(io: DeviceIo): void {
    this.#io = io;
    this.#servers = io.queues.map((_, index) => {
      const server: QueueServer | undefined = QueueServer.of(io, index, (chain) =>
        server === undefined ? 'wait' : this.#begin(io, server, chain),
      );
      return server;
    });
    io.memory.onLocal = () => {
      for (const server of this.#servers) server?.pass();
    };
  }

  resume(): void {
    for (const server of this.#servers) server?.resume();
  }

  notify(queue: number): void {
    this.#servers[queue]?.pass();
  }

  reset(done: () => void): void {
    const io = this.#io;
    this.#io = undefined;
    this.#servers = [];
    if (io !== undefined) io.memory.onLocal = () => {};
    if (this.#inFlight === 0) done();
    else this.#resetDone = done;
  }

  close(): Promise<void> {
    return this.#storage.close();
  }

  #begin(io: DeviceIo, server: QueueServer, chain: Chain): 'taken' | 'wait' {
    const request = parseBlockRequest(io.memory, chain);
    if (request === 'wait') return 'wait';
    if (request === 'malformed') {
      server.answer(chain.head, 0);
      return 'taken';
    }
    switch (request.type) {
      case VIRTIO_BLK_T_IN:
        return this.#transfer(io, server, request, request.destination, request.destinationLength, 'write');
      case VIRTIO_BLK_T_OUT:
        return this.#transfer(io, server, request, request.source, request.sourceLength, 'read');
      case VIRTIO_BLK_T_FLUSH:
        this.#start(io, server, request, 0, (done) => this.#storage.flush(done));
        return 'taken';
      case VIRTIO_BLK_T_GET_ID:
        return this.#getId(io, server, request);
      default:
        answer(io, server, request, VIRTIO_BLK_S_UNSUPP, 0);
        return 'taken';
    }
  }

  /** Moves data between the storage and guest memory; `intent` is what the device does to guest memory. */
  #transfer(
    io: DeviceIo,
    server: QueueServer,
    request: BlockRequest,
    segments: readonly Segment[],
    length: number,
    intent: 'read' | 'write',
  ): 'taken' | 'wait' {
    const end = request.sector * BigInt(SECTOR_SIZE) + BigInt(length);
    const refused =
      length % SECTOR_SIZE !== 0 ||
      end > BigInt(this.#storage.capacity) ||
      (intent === 'read' && this.#storage.readOnly);
    if (refused) {
      answer(io, server, request, VIRTIO_BLK_S_IOERR, 0);
      return 'taken';
    }
    if (length === 0) {
      answer(io, server, request, VIRTIO_BLK_S_OK, 0);
      return 'taken';
    }
    const { memory } = io;
    if (!segments.every((segment) => memory.need(segment.offset, segment.length, intent))) return 'wait';
    const buffers = segments.map((segment) => memory.bytes(segment.offset, segment.length));
    for (const { offset, length: bytes } of segments) memory.hold(offset, bytes);
    const position = Number(request.sector) * SECTOR_SIZE;
    this.#start(io, server, request, intent === 'write' ? length : 0, (done) => {
      const ended = (ok: boolean): void => {
        for (const { offset, length: bytes } of segments) {
          if (intent === 'write') memory.written(offset, bytes);
          memory.release(offset, bytes);
        }
        done(ok);
      };
      if (intent === 'write') this.#storage.read(position, buffers, ended);
      else this.#storage.write(position, buffers, ended);
    });
    return 'taken';
  }

  #getId(io: DeviceIo, server: QueueServer, request: BlockRequest): 'taken' | 'wait' {
    const [room] = request.destination;
    if (room === undefined || room.length < BLK_ID_SIZE) {
      answer(io, server, request, VIRTIO_BLK_S_IOERR, 0);
      return 'taken';
    }
    if (!io.memory.need(room.offset, BLK_ID_SIZE, 'write')) return 'wait';
    io.memory.bytes(room.offset, BLK_ID_SIZE).set(this.#id);
    io.memory.written(room.offset, BLK_ID_SIZE);
    answer(io, server, request, VIRTIO_BLK_S_OK, BLK_ID_SIZE);
    return 'taken';
  }

  /** Hands a request to the storage. A device that is reset meanwhile waits for the end, and says nothing of it. */
  #start(
    io: DeviceIo,
    server: QueueServer,
    request: BlockRequest,
    data: number,
    run: (done: (ok: boolean) => void) => void,
  ): void {
    this.#inFlight += 1;
    server.started();
    run((ok) => {
      this.#inFlight -= 1;
      if (this.#io === io) {
        const code = ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
        server.finish(request.head, (ok ? data : 0) + BLK_STATUS_SIZE, seal(io, request, code));
      } else if (this.#inFlight === 0 && this.#resetDone !== undefined) {
        const done = this.#resetDone;
        this.#resetDone = undefined;
        done();
      }
    });
  }
}

/** Writes the status byte, the last thing that a request gets. */
const seal =
  ({ memory }: DeviceIo, { status }: BlockRequest, code: number): (() => boolean) =>
  () => {
    if (!memory.need(status, BLK_STATUS_SIZE, 'write')) return false;
    memory.writeU8(status, code);
    memory.written(status, BLK_STATUS_SIZE);
    return true;
  };

const answer = (io: DeviceIo, server: QueueServer, request: BlockRequest, code: number, data: number): void =>
  server.answer(request.head, data + BLK_STATUS_SIZE, seal(io, request, code));
