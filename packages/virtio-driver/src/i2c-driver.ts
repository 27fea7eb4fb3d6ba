import { assert, err, ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import {
  DEVICE_ID_I2C,
  featureSet,
  hasFeature,
  I2C_ADDRESS_MAX,
  I2C_ADDRESS_MIN,
  I2C_OUT_HEADER,
  I2C_REQUESTQ,
  I2C_STATUS_SIZE,
  structBytes,
  VIRTIO_I2C_F_ZERO_LENGTH_REQUEST,
  VIRTIO_I2C_FLAGS_FAIL_NEXT,
  VIRTIO_I2C_FLAGS_M_RD,
  VIRTIO_I2C_MSG_OK,
} from '@remio/virtio-spec';
import { DeviceBringUp } from './bring-up.js';
import { despiteLoss } from './despite-loss.js';
import { type DriverError, driverError } from './driver-error.js';
import { RequestQueue, restartQueues } from './request-queue.js';

/** Bytes of one segment, at most. */
const SEGMENT_MAX = 256;
/** Segments of one transaction, at most. */
const SEGMENTS_MAX = 4;

/** A part of a transaction with one chip: bytes to write, or how many to read. */
export type I2cSegment = { readonly write: Uint8Array } | { readonly read: number };

/** What a transaction read, by its read segments; `not-acknowledged`: no chip, or the chip refuses. */
export type I2cOutcome = readonly Uint8Array[] | 'not-acknowledged';

/** A virtio-i2c driver (5.16): transactions with chips of 7-bit addresses, of tasks of the vCPU that probed. */
export class VirtioI2cDriver {
  readonly features: bigint;
  readonly #requests: RequestQueue;

  private constructor(features: bigint, requests: RequestQueue) {
    this.features = features;
    this.#requests = requests;
  }

  /** Brings a device up, on the vCPU that will take its interrupts and make its requests. */
  static probe(cpu: GuestCpu, end: GuestDeviceEnd): Promise<Result<VirtioI2cDriver, DriverError>> {
    return despiteLoss(cpu, end, () => VirtioI2cDriver.#attempt(cpu, end));
  }

  static async #attempt(cpu: GuestCpu, end: GuestDeviceEnd): Promise<Result<VirtioI2cDriver, DriverError>> {
    const wanted = featureSet(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST);
    const found = await DeviceBringUp.negotiate(cpu, end, DEVICE_ID_I2C, wanted);
    if (!found.ok) return found;
    const device = found.value;
    if (!hasFeature(device.features, VIRTIO_I2C_F_ZERO_LENGTH_REQUEST)) {
      await device.transport.fail(cpu);
      return err(driverError('features', '5.16.6.3', 'ZERO_LENGTH_REQUEST is not offered'));
    }
    const requests = await RequestQueue.setUp(cpu, device, I2C_REQUESTQ, {
      depth: SEGMENTS_MAX,
      requestSize: I2C_OUT_HEADER.size + SEGMENT_MAX,
      replySize: SEGMENT_MAX + I2C_STATUS_SIZE,
    });
    if (!requests.ok) return requests;
    const live = await device.goLive(cpu, {
      used: () => requests.value.reap(),
      configChanged: () => {},
      lost: (error) => restartQueues(cpu, device, [requests.value], error),
    });
    return live.ok ? ok(new VirtioI2cDriver(device.features, requests.value)) : live;
  }

  /** One transaction: all of its segments with the same chip, without anything in between. */
  async transfer(address: number, segments: readonly I2cSegment[]): Promise<Result<I2cOutcome, DriverError>> {
    assert(address >= 0 && address < 0x80, 'an address has 7 bits');
    assert(segments.length <= SEGMENTS_MAX, `a transaction has at most ${SEGMENTS_MAX} segments`);
    const { depth } = this.#requests;
    if (segments.length > depth) {
      return err(driverError('queue', '5.16.6.3', `${segments.length} segments, and the queue has room for ${depth}`));
    }
    const replies = await this.#requests.ask(
      segments.map((segment, n) => {
        const reads = 'read' in segment;
        const last = n === segments.length - 1;
        // 5.16.6.1: every request but the last of a group has FAIL_NEXT.
        const flags = (last ? 0 : VIRTIO_I2C_FLAGS_FAIL_NEXT) | (reads ? VIRTIO_I2C_FLAGS_M_RD : 0);
        const header = structBytes(I2C_OUT_HEADER, { addr: address << 1, flags });
        return {
          parts: reads ? [header] : [header, segment.write],
          room: (reads ? segment.read : 0) + I2C_STATUS_SIZE,
        };
      }),
    );
    if (replies === undefined) return err(this.#requests.failure);
    const read: Uint8Array[] = [];
    for (const [n, segment] of segments.entries()) {
      const reply = replies[n];
      const length = 'read' in segment ? segment.read : 0;
      // 5.16.6.3: from the first that failed, or whose status did not come, all have failed.
      if (reply?.[length] !== VIRTIO_I2C_MSG_OK) return ok('not-acknowledged');
      if ('read' in segment) read.push(reply.subarray(0, length));
    }
    return ok(read);
  }

  /** Addresses at which a chip answers, by writes of nothing. */
  async scan(): Promise<Result<readonly number[], DriverError>> {
    const found: number[] = [];
    for (let address = I2C_ADDRESS_MIN; address <= I2C_ADDRESS_MAX; address += 1) {
      const answered = await this.transfer(address, [{ write: new Uint8Array(0) }]);
      if (!answered.ok) return answered;
      if (answered.value !== 'not-acknowledged') found.push(address);
    }
    return ok(found);
  }
}
