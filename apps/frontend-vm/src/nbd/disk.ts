import {
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLUSH,
  NBD_CMD_READ,
  NBD_CMD_TRIM,
  NBD_CMD_WRITE,
  NBD_CMD_WRITE_ZEROES,
  NBD_EIO,
  type NbdExport,
  type NbdRequest,
} from '@remio/nbd';
import {
  type BlkOutcome,
  type BlkRange,
  type BlkRequest,
  diskBytes,
  type Ended,
  RANGES_PER_REQUEST,
  type RangeLimits,
  type VirtioBlkDriver,
} from '@remio/virtio-driver';
import { SECTOR_SIZE } from '@remio/virtio-spec';
import type { GuestBuffer } from '@remio/virtqueue';

/** The queue of the VM's first vCPU, where drivers run. */
const QUEUE = 0;

/** A request to the disk that waits for room in the queue. */
interface Waiting {
  readonly request: BlkRequest;
  readonly ended: Ended;
}

/** A virtio disk as an NBD server uses it: takes NBD's requests apart into those that the device has. */
export class NbdDisk {
  readonly driver: VirtioBlkDriver;
  readonly #waiting: Waiting[] = [];
  #head = 0;
  /** Requests begun and not ended. */
  #open = 0;

  constructor(driver: VirtioBlkDriver) {
    this.driver = driver;
  }

  /** What is offered to a client that connects now. */
  exported(name: string, description: string, maximumPayload: number): NbdExport {
    const { config, readOnly, capacity } = this.driver;
    return {
      name,
      description,
      size: diskBytes(capacity),
      readOnly,
      canTrim: config.discard !== undefined,
      canWriteZeroes: config.writeZeroes !== undefined,
      minimumBlock: config.blockSize,
      preferredBlock: Math.max(PREFERRED_BLOCK, config.blockSize),
      maximumPayload,
    };
  }

  /** Requests begun and not ended. */
  get open(): number {
    return this.#open;
  }

  /** Whether a read's or write's data must lie in one piece. */
  get onePiece(): boolean {
    return this.driver.config.segMax < 2;
  }

  /**
   * Begins a request that was found good.
   * @param data what a write writes, or room for what a read reads: `length` bytes in one or two pieces
   * @param ended told NBD's error, 0 if there is none; not before this returned
   */
  begin(request: NbdRequest, data: readonly GuestBuffer[], ended: (error: number) => void): void {
    this.#open += 1;
    const parts = this.#parts(request, data);
    let left = parts.length;
    let error = 0;
    const part = (outcome: BlkOutcome): void => {
      if (outcome !== 'ok') error = NBD_EIO;
      left -= 1;
      if (left > 0) return;
      if (error === 0 && this.#mustFlush(request)) this.#add({ kind: 'flush' }, flushed);
      else this.#end(error, ended);
    };
    const flushed = (outcome: BlkOutcome): void => this.#end(outcome === 'ok' ? 0 : NBD_EIO, ended);
    for (const each of parts) this.#add(each, part);
  }

  /** Puts what waits into the queue as far as it has room; returns whether the device wants a notification. */
  publish(): boolean {
    while (this.#head < this.#waiting.length) {
      const next = this.#waiting[this.#head];
      if (next === undefined || !this.driver.add(QUEUE, next.request, next.ended)) break;
      this.#head += 1;
    }
    if (this.#head === this.#waiting.length) this.#waiting.length = 0;
    else this.#waiting.splice(0, this.#head);
    this.#head = 0;
    return this.driver.publish(QUEUE);
  }

  #add(request: BlkRequest, ended: Ended): void {
    this.#waiting.push({ request, ended });
  }

  #end(error: number, ended: (error: number) => void): void {
    this.#open -= 1;
    ended(error);
  }

  /** Ordering of messages and writes: a write with FUA is durable before it is answered. */
  #mustFlush({ type, flags }: NbdRequest): boolean {
    const writes = type === NBD_CMD_WRITE || type === NBD_CMD_TRIM || type === NBD_CMD_WRITE_ZEROES;
    return writes && (flags & NBD_CMD_FLAG_FUA) !== 0 && this.driver.writeback;
  }

  #parts(request: NbdRequest, data: readonly GuestBuffer[]): readonly BlkRequest[] {
    const { config } = this.driver;
    switch (request.type) {
      case NBD_CMD_READ:
      case NBD_CMD_WRITE: {
        const kind = request.type === NBD_CMD_READ ? 'read' : 'write';
        let sector = request.offset / SECTOR_SIZE;
        return cut(data, config.sizeMax, config.segMax).map((buffers): BlkRequest => {
          const part: BlkRequest = { kind, sector: BigInt(sector), data: buffers };
          sector += bytesOf(buffers) / SECTOR_SIZE;
          return part;
        });
      }
      case NBD_CMD_TRIM:
        return ranges(request, config.discard).map((part) => ({ kind: 'discard', ranges: part }));
      case NBD_CMD_WRITE_ZEROES: {
        const unmap = (request.flags & NBD_CMD_FLAG_NO_HOLE) === 0;
        return ranges(request, config.writeZeroes).map((part) => ({ kind: 'write-zeroes', ranges: part, unmap }));
      }
      case NBD_CMD_FLUSH:
        return [{ kind: 'flush' }];
      default:
        return [];
    }
  }
}

/** Size constraints: what servers prefer that have no reason for anything else. */
const PREFERRED_BLOCK = 4096;

const bytesOf = (buffers: readonly GuestBuffer[]): number => buffers.reduce((sum, { length }) => sum + length, 0);

/**
 * Cuts data into requests of at most `segMax` segments of at most `sizeMax` bytes, each a whole number of sectors.
 * @param sizeMax a multiple of 512
 * @param segMax 1 only if the data is one piece
 */
export function cut(
  data: readonly GuestBuffer[],
  sizeMax: number,
  segMax: number,
): readonly (readonly GuestBuffer[])[] {
  if (data.length <= segMax && data.every(({ length }) => length <= sizeMax)) return [data];
  const requests: GuestBuffer[][] = [];
  let request: GuestBuffer[] = [];
  let bytes = 0;
  const close = (): void => {
    requests.push(request);
    request = [];
    bytes = 0;
  };
  for (const piece of data) {
    let { address, length: left } = piece;
    while (left > 0) {
      let take = Math.min(left, sizeMax);
      // The last segment of a request ends with a sector.
      if (request.length + 1 === segMax) take -= (bytes + take) % SECTOR_SIZE;
      request.push({ address, length: take });
      address += BigInt(take);
      left -= take;
      bytes += take;
      if (request.length === segMax) close();
    }
  }
  if (request.length > 0) close();
  return requests;
}

/** The stretch of a request as the device takes it: so many ranges of so many sectors. */
function ranges({ offset, length }: NbdRequest, limits: RangeLimits | undefined): readonly (readonly BlkRange[])[] {
  if (limits === undefined) return [];
  const all: BlkRange[] = [];
  const end = (offset + length) / SECTOR_SIZE;
  for (let sector = offset / SECTOR_SIZE; sector < end; sector += limits.sectors) {
    all.push({ sector: BigInt(sector), sectors: Math.min(limits.sectors, end - sector) });
  }
  const each = Math.min(limits.ranges, RANGES_PER_REQUEST);
  return Array.from({ length: Math.ceil(all.length / each) }, (_, n) => all.slice(n * each, (n + 1) * each));
}
