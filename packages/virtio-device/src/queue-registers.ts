import { MMIO } from '@remio/virtio-spec';
import type { QueueConfig } from '@remio/virtqueue';

/** Queue addresses by the offset of their registers. */
const ADDRESS_HALF: Readonly<Record<number, number>> = {
  [MMIO.QueueDescLow]: 0,
  [MMIO.QueueDescHigh]: 1,
  [MMIO.QueueDriverLow]: 2,
  [MMIO.QueueDriverHigh]: 3,
  [MMIO.QueueDeviceLow]: 4,
  [MMIO.QueueDeviceHigh]: 5,
};

/** What the driver programmed for one queue (4.2.2). */
export class QueueRegisters {
  size = 0;
  /** Halves of the three addresses: descriptors, driver area, device area; low, then high. */
  readonly halves = new Uint32Array(6);
  ready = false;

  /** A write of QueueSize or of half an address. */
  write(offset: number, value: number): void {
    if (offset === MMIO.QueueSize) this.size = value;
    else this.halves[ADDRESS_HALF[offset] ?? 0] = value;
  }

  get config(): QueueConfig {
    const { size, halves } = this;
    const address = (n: number): bigint => (BigInt(halves[n + 1] ?? 0) << 32n) | BigInt(halves[n] ?? 0);
    return { size, descriptorArea: address(0), driverArea: address(2), deviceArea: address(4) };
  }

  clear(): void {
    this.size = 0;
    this.halves.fill(0);
    this.ready = false;
  }
}
