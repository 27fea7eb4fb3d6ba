import { assert } from '@remio/base';
import {
  DEVICE_ID_FILE_SYSTEM,
  ERRNO,
  FS_CONFIG_NUM_REQUEST_QUEUES,
  FS_CONFIG_SIZE,
  FS_CONFIG_TAG,
  FS_QUEUE_HIPRIO,
  FS_TAG_SIZE,
  FUSE_READ,
} from '@remio/virtio-spec';
import type { Chain } from '@remio/virtqueue';
import type { DeviceIo, VirtioDevice } from '../device.js';
import { QueueServer } from '../queue-server.js';
import { allLocal, scatter } from '../segments.js';
import type { FileTree } from './file-tree.js';
import { failed, type Reply, replyBytes } from './reply.js';
import { type FuseRequest, parseFuseRequest } from './request.js';
import { FuseServer } from './server.js';
import { DEFAULT_FS_LIMITS, type FsLimits } from './tables.js';

/** How a file system device presents itself. */
export interface FsOptions {
  /** Names the file system for the driver: 1 to 36 bytes of UTF-8. */
  readonly tag: string;
  /** Request queues, 1 to 64. */
  readonly queues?: number;
  /** QueueSizeMax, a power of two. */
  readonly queueSize?: number;
  readonly limits?: FsLimits;
}

/**
 * A file system device (5.11): a FUSE server on a {@link FileTree}. The data of READ and WRITE goes straight between the
 * tree's files and guest memory.
 */
export class FsDevice implements VirtioDevice {
  readonly deviceId = DEVICE_ID_FILE_SYSTEM;
  readonly features = 0n;
  readonly queueCount: number;
  readonly queueSizeMax: number;
  readonly config: Uint8Array;
  readonly #tree: FileTree;
  readonly #server: FuseServer;
  /** Requests that failed, and chains that were no request. */
  readonly counters = { errors: 0, malformed: 0 };
  #io: DeviceIo | undefined;
  #servers: readonly (QueueServer | undefined)[] = [];
  /** Requests that the tree has, of this life and of former ones. */
  #inFlight = 0;
  #resetDone: (() => void) | undefined;

  constructor(tree: FileTree, options: FsOptions) {
    this.#tree = tree;
    this.#server = new FuseServer(tree, options.limits ?? DEFAULT_FS_LIMITS);
    const queues = options.queues ?? 1;
    this.queueCount = 1 + queues;
    this.queueSizeMax = options.queueSize ?? 128;
    this.config = new Uint8Array(FS_CONFIG_SIZE);
    const tag = new TextEncoder().encode(options.tag);
    assert(tag.length > 0 && tag.length <= FS_TAG_SIZE, 'a tag has 1 to 36 bytes');
    this.config.set(tag, FS_CONFIG_TAG);
    new DataView(this.config.buffer).setUint32(FS_CONFIG_NUM_REQUEST_QUEUES, queues, true);
  }

  /** What the driver holds of the tree: nodes besides the root, and open files. */
  get held(): { readonly nodes: number; readonly files: number } {
    return this.#server.held;
  }

  activate(io: DeviceIo): void {
    this.#io = io;
    this.#servers = io.queues.map((_, index) => {
      const server: QueueServer | undefined = QueueServer.of(io, index, (chain) =>
        server === undefined ? 'wait' : this.#begin(io, server, index, chain),
      );
      return server;
    });
  }

  notify(queue: number): void {
    this.#servers[queue]?.pass();
  }

  reset(done: () => void): void {
    this.#io = undefined;
    this.#servers = [];
    this.#server.end();
    if (this.#inFlight === 0) done();
    else this.#resetDone = done;
  }

  close(): Promise<void> {
    this.#server.end();
    return this.#tree.close();
  }

  #begin(io: DeviceIo, server: QueueServer, queue: number, chain: Chain): 'taken' | 'wait' {
    const parsed = parseFuseRequest(io.memory, chain, this.#server.littleEndian);
    switch (parsed.kind) {
      case 'wait':
        return 'wait';
      case 'malformed':
        this.counters.malformed += 1;
        server.answer(chain.head, 0);
        return 'taken';
      case 'error':
        if (parsed.replies) this.#answer(io, server, chain, parsed, failed(parsed.errno), 'now');
        else server.answer(chain.head, 0);
        return 'taken';
      case 'request':
        return this.#serve(io, server, queue, chain, parsed.request);
    }
  }

  #serve(io: DeviceIo, server: QueueServer, queue: number, chain: Chain, request: FuseRequest): 'taken' | 'wait' {
    if (!request.replies) {
      this.#server.take(request);
      server.answer(chain.head, 0);
      return 'taken';
    }
    // 5.11.6.2: only requests without a reply are of high priority, and nothing may hold them up.
    if (queue === FS_QUEUE_HIPRIO) {
      this.#answer(io, server, chain, request, failed(ERRNO.EINVAL), 'now');
      return 'taken';
    }
    const { memory } = io;
    const { data } = request;
    const intent = request.opcode === FUSE_READ ? 'write' : 'read';
    if (!allLocal(memory, data, intent)) return 'wait';
    const buffers = data.map(({ offset, length }) => memory.bytes(offset, length));
    for (const { offset, length } of data) memory.hold(offset, length);
    this.#inFlight += 1;
    server.started();
    void this.#server.handle(request, buffers).then((reply) => {
      for (const { offset, length } of data) {
        if (intent === 'write') memory.written(offset, length);
        memory.release(offset, length);
      }
      this.#inFlight -= 1;
      if (this.#io === io) this.#answer(io, server, chain, request, reply, 'later');
      else if (this.#inFlight === 0 && this.#resetDone !== undefined) {
        const done = this.#resetDone;
        this.#resetDone = undefined;
        done();
      }
    });
    return 'taken';
  }

  /** Returns a chain with its reply, which is written last. */
  #answer(
    { memory }: DeviceIo,
    server: QueueServer,
    { head, writable }: Chain,
    { unique, littleEndian }: Pick<FuseRequest, 'unique' | 'littleEndian'>,
    reply: Reply,
    when: 'now' | 'later',
  ): void {
    if (reply.kind === 'failed') this.counters.errors += 1;
    const { bytes, length } = replyBytes(unique, reply, littleEndian);
    const seal = (): boolean => scatter(memory, writable, bytes);
    if (when === 'now') server.answer(head, length, seal);
    else server.finish(head, length, seal);
  }
}
