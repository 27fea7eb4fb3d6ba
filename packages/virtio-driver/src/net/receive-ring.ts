import { acceptable, type Offloads, readHeader } from '@remio/ethernet';
import { NET_GSO_FRAME_MAX, NET_HEADER_NUM_BUFFERS, NET_HEADER_SIZE } from '@remio/virtio-spec';
import type { DriverQueue, GuestBuffer } from '@remio/virtqueue';

/** A buffer that frames are received in. */
export interface ReceiveBuffer {
  readonly bytes: Uint8Array;
  readonly chain: readonly GuestBuffer[];
}

/** A frame that came; its bytes are valid until it is given back by {@link ReceiveRing.recycle}. */
export interface ReceivedFrame {
  /** A copy of `struct virtio_net_hdr`: what was checked cannot change any more. */
  readonly header: Uint8Array;
  readonly frame: readonly Uint8Array[];
  /** Bytes of the frame. */
  readonly length: number;
  readonly buffers: readonly ReceiveBuffer[];
}

/** A frame whose buffers have not all come yet. */
interface Partial {
  readonly header: Uint8Array;
  readonly frame: Uint8Array[];
  readonly buffers: ReceiveBuffer[];
  readonly count: number;
  length: number;
}

/**
 * The receive side of a queue pair. The device is not trusted: a header that makes no sense, more buffers than there are
 * (V19), or bytes that were not there lose that frame and nothing else.
 */
export class ReceiveRing {
  readonly ring: DriverQueue<ReceiveBuffer>;
  readonly #mergeable: boolean;
  readonly #accepts: Offloads;
  #partial: Partial | undefined;
  #owed = false;
  /** Frames dropped because of what the device said of them. */
  dropped = 0;

  constructor(
    ring: DriverQueue<ReceiveBuffer>,
    buffers: readonly ReceiveBuffer[],
    mergeable: boolean,
    accepts: Offloads,
  ) {
    this.ring = ring;
    this.#mergeable = mergeable;
    this.#accepts = accepts;
    for (const buffer of buffers) ring.add(NONE, buffer.chain, buffer);
    ring.publish();
  }

  /** The next frame; undefined if there is none. */
  receive(): ReceivedFrame | undefined {
    for (;;) {
      const element = this.ring.popUsed();
      if (element.kind !== 'used') return undefined;
      const whole = this.#take(element.token, element.written);
      if (whole === undefined) continue;
      const { header, frame, length, buffers } = whole;
      if (length <= NET_GSO_FRAME_MAX && acceptable(readHeader(header), length, this.#accepts)) {
        return { header, frame, length, buffers };
      }
      this.#drop(buffers);
    }
  }

  /** Gives the buffers of a frame to the device again, after the next {@link publish}. */
  recycle({ buffers }: ReceivedFrame): void {
    this.#post(buffers);
  }

  publish(): void {
    if (this.ring.publish()) this.#owed = true;
  }

  /** Whether the device is to be notified. */
  get owed(): boolean {
    return this.#owed;
  }

  /** As {@link owed}; the notification is made by whoever asks. */
  takeOwed(): boolean {
    const owed = this.#owed;
    this.#owed = false;
    return owed;
  }

  /** Takes one used buffer; returns the frame if it is complete now. */
  #take(buffer: ReceiveBuffer, written: number): Partial | undefined {
    const partial = this.#partial;
    if (partial !== undefined) {
      partial.frame.push(buffer.bytes.subarray(0, written));
      partial.buffers.push(buffer);
      partial.length += written;
      return this.#whole(partial);
    }
    if (written < NET_HEADER_SIZE) {
      this.#drop([buffer]);
      return undefined;
    }
    const header = buffer.bytes.slice(0, NET_HEADER_SIZE);
    const count = this.#mergeable
      ? (header[NET_HEADER_NUM_BUFFERS] ?? 0) | ((header[NET_HEADER_NUM_BUFFERS + 1] ?? 0) << 8)
      : 1;
    if (count < 1 || count > this.ring.size) {
      this.#drop([buffer]);
      return undefined;
    }
    const frame = [buffer.bytes.subarray(NET_HEADER_SIZE, written)];
    return this.#whole({ header, frame, buffers: [buffer], count, length: written - NET_HEADER_SIZE });
  }

  #whole(frame: Partial): Partial | undefined {
    const complete = frame.buffers.length === frame.count;
    this.#partial = complete ? undefined : frame;
    return complete ? frame : undefined;
  }

  #drop(buffers: readonly ReceiveBuffer[]): void {
    this.dropped += 1;
    this.#post(buffers);
  }

  #post(buffers: readonly ReceiveBuffer[]): void {
    for (const buffer of buffers) this.ring.add(NONE, buffer.chain, buffer);
  }
}

const NONE: readonly GuestBuffer[] = [];
