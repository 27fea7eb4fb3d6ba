import {
  BLK_CONFIG_WRITEBACK,
  BLK_ID_SIZE,
  BLK_LIFETIME_SIZE,
  BLK_RANGE_SIZE,
  BLK_RANGE_UNMAP,
  BLK_STATUS_SIZE,
  DEVICE_ID_BLOCK,
  hasFeature,
  SECTOR_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_LIFETIME,
  VIRTIO_BLK_F_SECURE_ERASE,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_GET_LIFETIME,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_SECURE_ERASE,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '@remio/virtio-spec';
import type { Chain, Segment } from '@remio/virtqueue';
import type { DeviceIo, VirtioDevice } from '../device.js';
import { QueueServer } from '../queue-server.js';
import { allLocal, gather, scatter } from '../segments.js';
import {
  type BlockLimits,
  type BlockOptions,
  blockConfig,
  blockFeatures,
  blockLimits,
  RANGE_SECTORS_MAX,
  RANGES_MAX,
  setCapacity,
} from './config-space.js';
import { FlushGroup } from './flush-group.js';
import { type BlockRange, type BlockRequest, parseBlockRequest, parseRanges } from './request.js';
import type { BlockStorage, Done } from './storage.js';

/** Where a request came from, and where its answer goes. */
interface Context {
  readonly io: DeviceIo;
  readonly server: QueueServer;
  readonly request: BlockRequest;
}

type Begun = 'taken' | 'wait';

/** A command over ranges: a discard, write zeroes or secure erase. */
interface RangeCommand {
  readonly feature: number;
  /** Flags that a range may have. */
  readonly flags: number;
  run(range: BlockRange, position: number, length: number, done: Done): void;
}

/** Turns in which a queue's empty ring is looked at: a busy disk's next request is there within them. */
const PATIENCE_MAX = 64;

/** A block device (5.2) on a {@link BlockStorage}. Data goes straight between the storage and guest memory. */
export class BlockDevice implements VirtioDevice {
  readonly deviceId = DEVICE_ID_BLOCK;
  readonly features: bigint;
  readonly queueCount: number;
  readonly queueSizeMax: number;
  readonly config: Uint8Array;
  /** Requests that ended as IOERR and UNSUPP, and chains that were no request. */
  readonly counters = { errors: 0, unsupported: 0, malformed: 0 };
  readonly #storage: BlockStorage;
  readonly #flushes: FlushGroup;
  readonly #options: BlockOptions;
  readonly #limits: BlockLimits;
  readonly #id: Uint8Array;
  readonly #rangeCommands: ReadonlyMap<number, RangeCommand>;
  #io: DeviceIo | undefined;
  /** Features that the driver accepted. */
  #negotiated = 0n;
  #servers: readonly (QueueServer | undefined)[] = [];
  /** Requests that the storage has, of this life and of former ones. */
  #inFlight = 0;
  #resetDone: (() => void) | undefined;

  constructor(storage: BlockStorage, options: BlockOptions = {}) {
    this.#storage = storage;
    this.#flushes = new FlushGroup(storage);
    this.#options = options;
    this.#limits = blockLimits(options);
    this.queueCount = this.#limits.queues;
    this.queueSizeMax = this.#limits.queueSize;
    this.features = blockFeatures(storage, options);
    this.config = blockConfig(storage, options);
    this.#setWriteback(0n);
    this.#id = new Uint8Array(BLK_ID_SIZE);
    this.#id.set(new TextEncoder().encode(options.id ?? 'remio').subarray(0, BLK_ID_SIZE));
    this.#rangeCommands = this.#commands();
    storage.onResize = () => {
      setCapacity(this.config, storage);
      this.#io?.configChanged();
    };
  }

  negotiated(features: bigint): void {
    this.#negotiated = features;
    this.#setWriteback(features);
  }

  /** 4.2.2.2: fields of one byte are written with 8 bits. Only `writeback` can be written, and is 0 or 1 (5.2.6.1). */
  writeConfig(offset: number, bytes: Uint8Array): void {
    const [value] = bytes;
    const known = offset === BLK_CONFIG_WRITEBACK && bytes.length === 1 && (value === 0 || value === 1);
    if (!known || !hasFeature(this.#negotiated, VIRTIO_BLK_F_CONFIG_WCE)) return;
    this.config[BLK_CONFIG_WRITEBACK] = value;
  }

  activate(io: DeviceIo): void {
    this.#io = io;
    this.#negotiated = io.features;
    // A restored state brings its own configuration; all of it but the cache mode is the storage's and the options'.
    const writeback = this.config[BLK_CONFIG_WRITEBACK] ?? 0;
    this.config.set(blockConfig(this.#storage, this.#options));
    this.config[BLK_CONFIG_WRITEBACK] = writeback;
    this.#servers = io.queues.map((_, index) => {
      const begin = (chain: Chain): 'taken' | 'wait' =>
        server === undefined ? 'wait' : this.#begin(io, server, chain);
      const server: QueueServer | undefined = QueueServer.of(io, index, begin, PATIENCE_MAX);
      return server;
    });
  }

  resume(): void {
    for (const server of this.#servers) server?.resume();
  }

  notify(queue: number): void {
    this.#servers[queue]?.pass();
  }

  reset(done: () => void): void {
    this.#io = undefined;
    this.#servers = [];
    this.negotiated(0n);
    if (this.#inFlight === 0) done();
    else this.#resetDone = done;
  }

  close(again = false): Promise<void> {
    return this.#storage.close(again);
  }

  #begin(io: DeviceIo, server: QueueServer, chain: Chain): Begun {
    const request = parseBlockRequest(io.memory, chain);
    if (request === 'wait') return 'wait';
    if (request === 'malformed') {
      this.counters.malformed += 1;
      server.answer(chain.head, 0);
      return 'taken';
    }
    const context: Context = { io, server, request };
    switch (request.type) {
      case VIRTIO_BLK_T_IN:
        return this.#transfer(context, request.destination, request.destinationLength, 'write');
      case VIRTIO_BLK_T_OUT:
        return this.#transfer(context, request.source, request.sourceLength, 'read');
      case VIRTIO_BLK_T_FLUSH:
        this.#start(context, 0, (done) => this.#flushes.flush(done));
        return 'taken';
      case VIRTIO_BLK_T_GET_ID:
        return this.#give(context, this.#id);
      case VIRTIO_BLK_T_GET_LIFETIME:
        return hasFeature(this.#negotiated, VIRTIO_BLK_F_LIFETIME)
          ? this.#give(context, lifetimeBytes(this.#options))
          : this.#refuse(context, VIRTIO_BLK_S_UNSUPP);
      default: {
        const command = this.#rangeCommands.get(request.type);
        return command === undefined || !hasFeature(this.#negotiated, command.feature)
          ? this.#refuse(context, VIRTIO_BLK_S_UNSUPP)
          : this.#ranges(context, command);
      }
    }
  }

  /** Moves data between the storage and guest memory; `intent` is what the device does to guest memory. */
  #transfer(context: Context, segments: readonly Segment[], length: number, intent: 'read' | 'write'): Begun {
    const { io, request } = context;
    const { sizeMax, segMax } = this.#limits;
    const refused =
      length % SECTOR_SIZE !== 0 ||
      !this.#inside(request.sector, length) ||
      segments.length > segMax ||
      segments.some((segment) => segment.length > sizeMax) ||
      (intent === 'read' && this.#storage.readOnly);
    if (refused) return this.#refuse(context, VIRTIO_BLK_S_IOERR);
    if (length === 0) return succeed(context, 0);
    const { memory } = io;
    if (!allLocal(memory, segments, intent)) return 'wait';
    const buffers = segments.map((segment) => memory.bytes(segment.offset, segment.length));
    for (const { offset, length: bytes } of segments) memory.hold(offset, bytes);
    const position = Number(request.sector) * SECTOR_SIZE;
    this.#start(context, intent === 'write' ? length : 0, (done) => {
      const ended = (ok: boolean): void => {
        for (const { offset, length: bytes } of segments) {
          if (intent === 'write') memory.written(offset, bytes);
          memory.release(offset, bytes);
        }
        done(ok);
      };
      if (intent === 'write') this.#storage.read(position, buffers, ended);
      else this.#storage.write(position, buffers, this.#stable(ended));
    });
    return 'taken';
  }

  /** Discard, write zeroes, secure erase: every range is looked at before the first one is touched. */
  #ranges(context: Context, command: RangeCommand): Begun {
    const { io, request } = context;
    const { source, sourceLength } = request;
    if (sourceLength === 0 || sourceLength % BLK_RANGE_SIZE !== 0 || sourceLength > RANGES_MAX * BLK_RANGE_SIZE) {
      return this.#refuse(context, VIRTIO_BLK_S_IOERR);
    }
    const data = gather(io.memory, source, sourceLength);
    if (data === undefined) return 'wait';
    const ranges = parseRanges(data);
    // 5.2.6.2: an unknown flag, or unmap in a discard, is what the device does not support.
    if (ranges.some((range) => (range.flags & ~command.flags) !== 0)) return this.#refuse(context, VIRTIO_BLK_S_UNSUPP);
    const sane = ranges.every(
      ({ sector, sectors }) => sectors <= RANGE_SECTORS_MAX && this.#inside(sector, sectors * SECTOR_SIZE),
    );
    if (!sane) return this.#refuse(context, VIRTIO_BLK_S_IOERR);
    const work = ranges.filter(({ sectors }) => sectors > 0);
    if (work.length === 0) return succeed(context, 0);
    this.#start(context, 0, (done) => {
      const stable = this.#stable(done);
      let left = work.length;
      let good = true;
      for (const range of work) {
        command.run(range, Number(range.sector) * SECTOR_SIZE, range.sectors * SECTOR_SIZE, (ok) => {
          good &&= ok;
          left -= 1;
          if (left === 0) stable(good);
        });
      }
    });
    return 'taken';
  }

  /** Answers with bytes that the device knows. */
  #give(context: Context, bytes: Uint8Array): Begun {
    const { io, request } = context;
    if (request.destinationLength < bytes.length) return this.#refuse(context, VIRTIO_BLK_S_IOERR);
    if (!scatter(io.memory, request.destination, bytes)) return 'wait';
    return succeed(context, bytes.length);
  }

  /** Hands a request to the storage. A device that is reset meanwhile waits for the end, and says nothing of it. */
  #start({ io, server, request }: Context, data: number, run: (done: Done) => void): void {
    this.#inFlight += 1;
    server.started();
    run((ok) => {
      this.#inFlight -= 1;
      if (this.#io === io) {
        const code = ok ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
        if (!ok) this.counters.errors += 1;
        server.finish(request.head, (ok ? data : 0) + BLK_STATUS_SIZE, seal(io, request, code));
      } else if (this.#inFlight === 0 && this.#resetDone !== undefined) {
        const done = this.#resetDone;
        this.#resetDone = undefined;
        done();
      }
    });
  }

  /** 5.2.6.2: whether a write is durable before it is answered. What counts is the mode when it ends. */
  #stable(done: Done): Done {
    if (this.config[BLK_CONFIG_WRITEBACK] === 1) return done;
    return (ok) => (ok ? this.#flushes.flush(done) : done(false));
  }

  #refuse(context: Context, code: number): 'taken' {
    if (code === VIRTIO_BLK_S_UNSUPP) this.counters.unsupported += 1;
    else this.counters.errors += 1;
    return answer(context, code, 0);
  }

  #inside(sector: bigint, length: number): boolean {
    return sector * BigInt(SECTOR_SIZE) + BigInt(length) <= BigInt(this.#storage.capacity);
  }

  /** The cache mode for a driver with these features (5.2.5.2, 5.2.6.2): one that cannot flush gets durable writes. */
  #setWriteback(features: bigint): void {
    const chosen = hasFeature(features, VIRTIO_BLK_F_FLUSH) && this.#options.writeback !== false;
    this.config[BLK_CONFIG_WRITEBACK] = chosen ? 1 : 0;
  }

  #commands(): ReadonlyMap<number, RangeCommand> {
    const storage = this.#storage;
    const zero = (position: number, length: number, unmap: boolean, done: Done): void =>
      storage.writeZeroes === undefined ? done(false) : storage.writeZeroes(position, length, unmap, done);
    return new Map<number, RangeCommand>([
      [
        VIRTIO_BLK_T_DISCARD,
        {
          feature: VIRTIO_BLK_F_DISCARD,
          flags: 0,
          run: (_, position, length, done) =>
            storage.discard === undefined ? done(false) : storage.discard(position, length, done),
        },
      ],
      [
        VIRTIO_BLK_T_WRITE_ZEROES,
        {
          feature: VIRTIO_BLK_F_WRITE_ZEROES,
          flags: BLK_RANGE_UNMAP,
          run: ({ flags }, position, length, done) => zero(position, length, (flags & BLK_RANGE_UNMAP) !== 0, done),
        },
      ],
      [
        VIRTIO_BLK_T_SECURE_ERASE,
        {
          feature: VIRTIO_BLK_F_SECURE_ERASE,
          flags: 0,
          run: (_, position, length, done) =>
            zero(position, length, false, (ok) => (ok ? this.#flushes.flush(done) : done(false))),
        },
      ],
    ]);
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

function answer({ io, server, request }: Context, code: number, data: number): 'taken' {
  server.answer(request.head, data + BLK_STATUS_SIZE, seal(io, request, code));
  return 'taken';
}

const succeed = (context: Context, data: number): 'taken' => answer(context, VIRTIO_BLK_S_OK, data);

/** The data of GET_LIFETIME (5.2.6). */
function lifetimeBytes({ lifetime }: BlockOptions): Uint8Array {
  const bytes = new Uint8Array(BLK_LIFETIME_SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, lifetime?.preEolInfo ?? 0, true);
  view.setUint16(2, lifetime?.typA ?? 0, true);
  view.setUint16(4, lifetime?.typB ?? 0, true);
  return bytes;
}
