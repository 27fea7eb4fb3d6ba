import {
  DEVICE_ID_I2C,
  featureSet,
  hasFeature,
  I2C_OUT_HEADER,
  I2C_REQUESTQ,
  I2C_STATUS_SIZE,
  readStruct,
  VIRTIO_I2C_F_ZERO_LENGTH_REQUEST,
  VIRTIO_I2C_FLAGS_FAIL_NEXT,
  VIRTIO_I2C_FLAGS_M_RD,
  VIRTIO_I2C_MSG_ERR,
  VIRTIO_I2C_MSG_OK,
} from '@remio/virtio-spec';
import type { Chain } from '@remio/virtqueue';
import type { DeviceIo, VirtioDevice } from '../device.js';
import { QueueServer } from '../queue-server.js';
import { allLocal, gather, scatter, slice } from '../segments.js';
import type { I2cTarget } from './targets.js';

/** Bytes of one segment, at most: what a request can make the device keep. */
const SEGMENT_MAX = 4096;

const FLAGS = VIRTIO_I2C_FLAGS_FAIL_NEXT | VIRTIO_I2C_FLAGS_M_RD;

/** An I2C adapter (5.16): a bus with chips, by their address of 7 bits. Requests are carried out in order, at once. */
export class I2cDevice implements VirtioDevice {
  readonly deviceId = DEVICE_ID_I2C;
  readonly features = featureSet(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST);
  readonly queueCount = 1;
  /** Segments that failed, and chains that were none. */
  readonly counters = { errors: 0, malformed: 0 };
  readonly queueSizeMax = 64;
  readonly config = new Uint8Array(0);
  readonly #targets: ReadonlyMap<number, I2cTarget>;
  #server: QueueServer | undefined;
  /** The request before failed, and said that this one then does, too. */
  #failNext = false;

  constructor(targets: ReadonlyMap<number, I2cTarget>) {
    this.#targets = targets;
  }

  /** 5.16.6.4: a driver that does not accept the one feature is rejected. */
  featuresAcceptable(features: bigint): boolean {
    return hasFeature(features, VIRTIO_I2C_F_ZERO_LENGTH_REQUEST);
  }

  activate(io: DeviceIo): void {
    const server: QueueServer | undefined = QueueServer.of(io, I2C_REQUESTQ, (chain) =>
      server === undefined ? 'wait' : this.#begin(io, server, chain),
    );
    this.#server = server;
    this.#failNext = false;
  }

  notify(_queue: number): void {
    this.#server?.pass();
  }

  reset(done: () => void): void {
    this.#server = undefined;
    done();
  }

  #begin({ memory }: DeviceIo, server: QueueServer, chain: Chain): 'taken' | 'wait' {
    const reads = chain.writableLength - I2C_STATUS_SIZE;
    const writes = chain.readableLength - I2C_OUT_HEADER.size;
    if (reads < 0 || writes < 0) {
      // No request: nothing can be said.
      this.counters.malformed += 1;
      server.answer(chain.head, 0);
      return 'taken';
    }
    const header = gather(memory, chain.readable, I2C_OUT_HEADER.size);
    if (header === undefined || !allLocal(memory, chain.writable, 'write')) return 'wait';
    const { addr, flags } = readStruct(I2C_OUT_HEADER, header, 0);
    const sound =
      (flags & ~FLAGS) === 0 &&
      ((flags & VIRTIO_I2C_FLAGS_M_RD) !== 0
        ? writes === 0 && reads <= SEGMENT_MAX
        : reads === 0 && writes <= SEGMENT_MAX);
    const data = gather(memory, sound ? slice(chain.readable, I2C_OUT_HEADER.size, writes) : [], sound ? writes : 0);
    if (data === undefined) return 'wait';
    const room = new Uint8Array(sound ? reads : 0);
    const ok =
      sound &&
      !this.#failNext &&
      this.#carryOut(addr, (flags & VIRTIO_I2C_FLAGS_M_RD) !== 0, new Uint8Array(data.buffer), room);
    this.#failNext = !ok && (flags & VIRTIO_I2C_FLAGS_FAIL_NEXT) !== 0;
    if (!ok) this.counters.errors += 1;
    if (ok) scatter(memory, chain.writable, room);
    const status = slice(chain.writable, reads, I2C_STATUS_SIZE);
    scatter(memory, status, Uint8Array.of(ok ? VIRTIO_I2C_MSG_OK : VIRTIO_I2C_MSG_ERR));
    server.answer(chain.head, chain.writableLength);
    return 'taken';
  }

  /** 5.16.6.1: an address of 7 bits stands in bits 7 to 1; those of 10 bits name nothing here. */
  #carryOut(addr: number, reads: boolean, data: Uint8Array, room: Uint8Array): boolean {
    const target = (addr & ~0xfe) === 0 ? this.#targets.get(addr >> 1) : undefined;
    if (target === undefined) return false;
    return reads ? target.read(room) : target.write(data);
  }
}
