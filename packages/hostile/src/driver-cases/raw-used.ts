import type { GuestMemory } from '@remio/guest-memory';
import {
  PDESC_FLAGS,
  PDESC_ID,
  PDESC_LEN,
  PDESC_SIZE,
  USED_ELEMENT_SIZE,
  USED_IDX,
  USED_RING,
  VIRTQ_DESC_F_AVAIL,
  VIRTQ_DESC_F_USED,
  VIRTQ_DESC_F_WRITE,
} from '@remio/virtio-spec';
import type { DeviceQueue, QueueConfig, SavedPackedQueue, SavedSplitQueue } from '@remio/virtqueue';

/** What a device writes of its own accord into a ring that is served by someone who keeps to the rules. */
export class RawUsed {
  readonly #memory: GuestMemory;
  readonly #queue: DeviceQueue;
  readonly #config: QueueConfig;

  constructor(memory: GuestMemory, queue: DeviceQueue, config: QueueConfig) {
    this.#memory = memory;
    this.#queue = queue;
    this.#config = config;
  }

  /** Writes a used element where the next one goes, and shows it. */
  use(id: number, written: number): void {
    const state = this.#queue.save() as SavedSplitQueue | SavedPackedQueue;
    const memory = this.#memory;
    const { size } = this.#config;
    if (state.layout === 'split') {
      const element = this.#at(this.#config.deviceArea) + USED_RING + USED_ELEMENT_SIZE * (state.usedIdx & (size - 1));
      memory.writeU32(element, id);
      memory.writeU32(element + 4, written);
      this.setIndex(1);
      return;
    }
    const descriptor = this.#at(this.#config.descriptorArea) + PDESC_SIZE * (state.used % size);
    memory.writeU32(descriptor + PDESC_LEN, written);
    memory.writeU16(descriptor + PDESC_ID, id);
    const owner = state.used < size ? VIRTQ_DESC_F_AVAIL | VIRTQ_DESC_F_USED : 0;
    memory.storeU16(descriptor + PDESC_FLAGS, owner | VIRTQ_DESC_F_WRITE);
  }

  /** Split: moves the used index by so much. */
  setIndex(by: number): void {
    const state = this.#queue.save() as SavedSplitQueue | SavedPackedQueue;
    if (state.layout !== 'split') return;
    this.#memory.storeU16(this.#at(this.#config.deviceArea) + USED_IDX, (state.usedIdx + by) & 0xffff);
  }

  /** Overwrites what the driver wrote into the first descriptor of a request, but for what says whose a packed one is. */
  scribble(head: number): void {
    const state = this.#queue.save() as SavedSplitQueue | SavedPackedQueue;
    const packed = state.layout === 'packed';
    const index = packed ? state.used % this.#config.size : head;
    const at = this.#at(this.#config.descriptorArea) + PDESC_SIZE * index;
    this.#memory.bytes(at, packed ? PDESC_ID : PDESC_SIZE).fill(0xff);
  }

  #at(address: bigint): number {
    return Number(address - this.#memory.base);
  }
}
