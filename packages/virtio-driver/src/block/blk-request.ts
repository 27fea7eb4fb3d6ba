import type { GuestMemory } from '@remio/guest-memory';
import {
  BLK_HEADER_SIZE,
  BLK_RANGE_SIZE,
  BLK_RANGE_UNMAP,
  BLK_STATUS_SIZE,
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
import type { GuestBuffer } from '@remio/virtqueue';

/** A stretch of the disk. */
export interface BlkRange {
  readonly sector: bigint;
  readonly sectors: number;
}

/** A request to the disk. `data` lies in the memory shared with the backend. */
export type BlkRequest =
  | { readonly kind: 'read' | 'write'; readonly sector: bigint; readonly data: readonly GuestBuffer[] }
  | { readonly kind: 'flush' }
  | { readonly kind: 'discard' | 'secure-erase'; readonly ranges: readonly BlkRange[] }
  /** `unmap`: the room of the ranges may be given back. */
  | { readonly kind: 'write-zeroes'; readonly ranges: readonly BlkRange[]; readonly unmap: boolean }
  /** Room for the 20 bytes of the identification string, or the 6 of the lifetime. */
  | { readonly kind: 'get-id' | 'get-lifetime'; readonly data: readonly GuestBuffer[] };

/** How a request ended. */
export type BlkOutcome = 'ok' | 'io-error' | 'unsupported' | 'device-broken';

/** Ranges that one request has room for. */
export const RANGES_PER_REQUEST = 6;

/** Where a request's header, ranges and status byte lie in its slot, and how long that is. */
const RANGES_AT = BLK_HEADER_SIZE;
const STATUS_AT = RANGES_AT + RANGES_PER_REQUEST * BLK_RANGE_SIZE;
export const SLOT_SIZE = 128;

/** What the status byte is until the device writes it: no status that there is. */
const STATUS_PENDING = 0xff;

const TYPE: Readonly<Record<BlkRequest['kind'], number>> = {
  read: VIRTIO_BLK_T_IN,
  write: VIRTIO_BLK_T_OUT,
  flush: VIRTIO_BLK_T_FLUSH,
  discard: VIRTIO_BLK_T_DISCARD,
  'secure-erase': VIRTIO_BLK_T_SECURE_ERASE,
  'write-zeroes': VIRTIO_BLK_T_WRITE_ZEROES,
  'get-id': VIRTIO_BLK_T_GET_ID,
  'get-lifetime': VIRTIO_BLK_T_GET_LIFETIME,
};

/** What a request is made of, in the order in which it goes into a chain (5.2.6). */
export interface RequestBuffers {
  readonly readable: readonly GuestBuffer[];
  readonly writable: readonly GuestBuffer[];
}

/** The memory of one request beside its data. */
export class RequestSlot {
  readonly #memory: GuestMemory;
  readonly #offset: number;
  readonly #address: bigint;
  readonly #header: readonly GuestBuffer[];
  readonly #status: readonly GuestBuffer[];

  /** @param address of {@link SLOT_SIZE} bytes of the shared memory */
  constructor(memory: GuestMemory, address: bigint) {
    this.#memory = memory;
    this.#offset = memory.locate(address, SLOT_SIZE);
    this.#address = address;
    this.#header = [{ address, length: BLK_HEADER_SIZE }];
    this.#status = [{ address: address + BigInt(STATUS_AT), length: BLK_STATUS_SIZE }];
  }

  /** Writes a request's header and ranges, and says which buffers make it up. */
  prepare(request: BlkRequest): RequestBuffers {
    const memory = this.#memory;
    const at = this.#offset;
    memory.writeU32(at, TYPE[request.kind]);
    memory.writeU32(at + 4, 0);
    // 5.2.6.1: 0 for all but reads and writes.
    memory.writeU64(at + 8, request.kind === 'read' || request.kind === 'write' ? request.sector : 0n);
    memory.writeU8(at + STATUS_AT, STATUS_PENDING);
    switch (request.kind) {
      case 'write':
        return { readable: [...this.#header, ...request.data], writable: this.#status };
      case 'read':
      case 'get-id':
      case 'get-lifetime':
        return { readable: this.#header, writable: [...request.data, ...this.#status] };
      case 'flush':
        return { readable: this.#header, writable: this.#status };
      case 'discard':
      case 'secure-erase':
        return this.#withRanges(request.ranges, 0);
      case 'write-zeroes':
        return this.#withRanges(request.ranges, request.unmap ? BLK_RANGE_UNMAP : 0);
    }
  }

  /** What the device says of the request. A status that nobody defined is an error (V18). */
  outcome(): BlkOutcome {
    return OUTCOME[this.#memory.readU8(this.#offset + STATUS_AT)] ?? 'io-error';
  }

  #withRanges(ranges: readonly BlkRange[], flags: number): RequestBuffers {
    const memory = this.#memory;
    ranges.forEach(({ sector, sectors }, n) => {
      const at = this.#offset + RANGES_AT + n * BLK_RANGE_SIZE;
      memory.writeU64(at, sector);
      memory.writeU32(at + 8, sectors);
      memory.writeU32(at + 12, flags);
    });
    const data = { address: this.#address + BigInt(RANGES_AT), length: ranges.length * BLK_RANGE_SIZE };
    return { readable: [...this.#header, data], writable: this.#status };
  }
}

const OUTCOME: Readonly<Record<number, BlkOutcome>> = {
  [VIRTIO_BLK_S_OK]: 'ok',
  [VIRTIO_BLK_S_IOERR]: 'io-error',
  [VIRTIO_BLK_S_UNSUPP]: 'unsupported',
};
