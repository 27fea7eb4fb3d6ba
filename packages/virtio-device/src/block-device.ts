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
import { type BlockRequest, parseBlockRequest } from './block-request.js';
import type { BlockStorage } from './block-storage.js';
import type { DeviceIo, VirtioDevice } from './device.js';

/** How a block device presents itself. */
export interface BlockOptions {
  /** Identification string, up to 20 bytes of ASCII. */
  readonly id?: string;
  /** Request queues, 1 to 64. */
  readonly queues?: number;
  /** QueueSizeMax, a power of two. */
  readonly queueSize?: number;
}

/** A request whose answer is known and not yet in the ring. */
interface Finished {
  readonly head: number;
  /** Offset of the status byte; undefined if the request has none. */
  readonly status: number | undefined;
  readonly code: number;
  readonly written: number;
}

/** Work of one queue. */
interface QueueWork {
  /** Taken from the ring, header not local yet. */
  readonly staged: Chain[];
  readonly finished: Finished[];
  /** Handed to the storage. */
  inFlight: number;
  /** A pass over the queue is scheduled. */
  deferred: boolean;
  /** Elements were pushed since the driver was last considered for an interrupt. */
  dirty: boolean;
}

/**
 * A block device (5.2) on a {@link BlockStorage}. Data goes straight between the storage and guest memory.
 *
 * While requests are in flight the driver is asked not to notify: the ring is looked at whenever the storage answers.
 * Each notification is a trap of the frontend and two exchanges, so this is where a busy device saves them.
 */
export class BlockDevice implements VirtioDevice {
  readonly deviceId = DEVICE_ID_BLOCK;
  readonly features: bigint;
  readonly queueCount: number;
  readonly queueSizeMax: number;
  readonly config: Uint8Array;
  readonly #storage: BlockStorage;
  readonly #id: Uint8Array;
  #io: DeviceIo | undefined;
  #work: readonly QueueWork[] = [];
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
    this.#work = io.queues.map(() => ({ staged: [], finished: [], inFlight: 0, deferred: false, dirty: false }));
    io.memory.onLocal = () => {
      for (const index of this.#work.keys()) this.#pass(index);
    };
  }

  notify(queue: number): void {
    this.#pass(queue);
  }

  reset(done: () => void): void {
    const io = this.#io;
    this.#io = undefined;
    this.#work = [];
    if (io !== undefined) io.memory.onLocal = () => {};
    if (this.#inFlight === 0) done();
    else this.#resetDone = done;
  }

  close(): Promise<void> {
    return this.#storage.close();
  }

  /** Answers what is finished, then takes what is there: at most one ring's worth, so that no queue starves others. */
  #pass(index: number): void {
    this.#serve(index);
    const work = this.#work[index];
    if (!work?.dirty) return;
    work.dirty = false;
    this.#io?.used(index);
  }

  #serve(index: number): void {
    const io = this.#io;
    const queue = io?.queues[index];
    const work = this.#work[index];
    if (io === undefined || queue === undefined || work === undefined) return;
    if (!this.#answer(io, index)) return;
    for (;;) {
      const chain = work.staged[0];
      if (chain === undefined) break;
      if (!this.#begin(io, index, chain)) return;
      work.staged.shift();
    }
    queue.setNotifications(false);
    for (let taken = 0; ; taken += 1) {
      if (taken >= queue.size) {
        this.#defer(io, index);
        return;
      }
      const popped = queue.pop();
      if (popped.kind === 'chain') {
        if (this.#begin(io, index, popped.chain)) continue;
        work.staged.push(popped.chain);
        return;
      }
      if (popped.kind === 'rejected') {
        this.#finish(index, { head: popped.head, status: undefined, code: VIRTIO_BLK_S_IOERR, written: 0 });
        continue;
      }
      if (popped.kind === 'broken') {
        io.broken(index, popped.error);
        return;
      }
      if (popped.kind === 'wait') return;
      if (work.inFlight > 0) break;
      // Nothing is left to wait for: ask for notifications, then look once more (2.7.10).
      queue.setNotifications(true);
      const late = queue.pop();
      if (late.kind === 'empty' || late.kind === 'wait') break;
      queue.setNotifications(false);
      if (late.kind === 'chain') {
        if (!this.#begin(io, index, late.chain)) {
          work.staged.push(late.chain);
          return;
        }
      } else if (late.kind === 'rejected') {
        this.#finish(index, { head: late.head, status: undefined, code: VIRTIO_BLK_S_IOERR, written: 0 });
      } else {
        io.broken(index, late.error);
        return;
      }
    }
    this.#answer(io, index);
  }

  #defer(io: DeviceIo, index: number): void {
    const work = this.#work[index];
    if (work === undefined || work.deferred) return;
    work.deferred = true;
    io.defer(() => {
      work.deferred = false;
      this.#pass(index);
    });
  }

  /** Starts a request; false if its memory is not local yet. */
  #begin(io: DeviceIo, index: number, chain: Chain): boolean {
    const request = parseBlockRequest(io.memory, chain);
    if (request === 'wait') return false;
    if (request === 'malformed') {
      this.#finish(index, { head: chain.head, status: undefined, code: VIRTIO_BLK_S_IOERR, written: 0 });
      return true;
    }
    switch (request.type) {
      case VIRTIO_BLK_T_IN:
        return this.#transfer(io, index, request, request.destination, request.destinationLength, 'write');
      case VIRTIO_BLK_T_OUT:
        return this.#transfer(io, index, request, request.source, request.sourceLength, 'read');
      case VIRTIO_BLK_T_FLUSH:
        this.#start(index, request, 0, (done) => this.#storage.flush(done));
        return true;
      case VIRTIO_BLK_T_GET_ID:
        return this.#getId(io, index, request);
      default:
        this.#answerNow(index, request, VIRTIO_BLK_S_UNSUPP);
        return true;
    }
  }

  /** Moves data between the storage and guest memory; `intent` is what the device does to guest memory. */
  #transfer(
    io: DeviceIo,
    index: number,
    request: BlockRequest,
    segments: readonly Segment[],
    length: number,
    intent: 'read' | 'write',
  ): boolean {
    const end = request.sector * BigInt(SECTOR_SIZE) + BigInt(length);
    const refused =
      length % SECTOR_SIZE !== 0 ||
      end > BigInt(this.#storage.capacity) ||
      (intent === 'read' && this.#storage.readOnly);
    if (refused) {
      this.#answerNow(index, request, VIRTIO_BLK_S_IOERR);
      return true;
    }
    if (length === 0) {
      this.#answerNow(index, request, VIRTIO_BLK_S_OK);
      return true;
    }
    const { memory } = io;
    if (!segments.every((segment) => memory.need(segment.offset, segment.length, intent))) return false;
    const buffers = segments.map((segment) => memory.bytes(segment.offset, segment.length));
    for (const { offset, length: bytes } of segments) memory.hold(offset, bytes);
    const position = Number(request.sector) * SECTOR_SIZE;
    this.#start(index, request, intent === 'write' ? length : 0, (done) => {
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
    return true;
  }

  #getId(io: DeviceIo, index: number, request: BlockRequest): boolean {
    const [room] = request.destination;
    if (room === undefined || room.length < BLK_ID_SIZE) {
      this.#answerNow(index, request, VIRTIO_BLK_S_IOERR);
      return true;
    }
    if (!io.memory.need(room.offset, BLK_ID_SIZE, 'write')) return false;
    io.memory.bytes(room.offset, BLK_ID_SIZE).set(this.#id);
    io.memory.written(room.offset, BLK_ID_SIZE);
    this.#finish(index, { head: request.head, status: request.status, code: VIRTIO_BLK_S_OK, written: BLK_ID_SIZE });
    return true;
  }

  /** Hands a request to the storage. A device that is reset meanwhile waits for the end, and says nothing of it. */
  #start(index: number, request: BlockRequest, data: number, run: (done: (ok: boolean) => void) => void): void {
    const io = this.#io;
    const work = this.#work[index];
    if (io === undefined || work === undefined) return;
    this.#inFlight += 1;
    work.inFlight += 1;
    run((ok) => {
      this.#inFlight -= 1;
      work.inFlight -= 1;
      if (this.#io === io) {
        const code = ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
        this.#finish(index, { head: request.head, status: request.status, code, written: ok ? data : 0 });
        // Requests that the storage answers together are answered together: one interrupt for all.
        this.#defer(io, index);
      } else if (this.#inFlight === 0 && this.#resetDone !== undefined) {
        const done = this.#resetDone;
        this.#resetDone = undefined;
        done();
      }
    });
  }

  #answerNow(index: number, request: BlockRequest, code: number): void {
    this.#finish(index, { head: request.head, status: request.status, code, written: 0 });
  }

  #finish(index: number, finished: Finished): void {
    this.#work[index]?.finished.push(finished);
  }

  /** Writes answers to the ring, oldest first; false if memory is not local yet. */
  #answer(io: DeviceIo, index: number): boolean {
    const queue = io.queues[index];
    const work = this.#work[index];
    if (queue === undefined || work === undefined) return false;
    for (;;) {
      const next = work.finished[0];
      if (next === undefined) return true;
      const { head, status, code, written } = next;
      if (status !== undefined) {
        if (!io.memory.need(status, BLK_STATUS_SIZE, 'write')) return false;
        io.memory.writeU8(status, code);
        io.memory.written(status, BLK_STATUS_SIZE);
      }
      if (!queue.push(head, status === undefined ? 0 : written + BLK_STATUS_SIZE)) return false;
      work.finished.shift();
      work.dirty = true;
    }
  }
}
