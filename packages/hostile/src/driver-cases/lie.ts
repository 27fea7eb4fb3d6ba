import type { MMIO } from '@remio/virtio-spec';

/** A register by its name in VirtIO 1.4, or a byte of the device configuration. */
export type LyingRegister = keyof typeof MMIO | number;

/** What a device does to its queue, once it has ended some requests as it should. */
export type RingTrick =
  /** A used element with an id that the ring does not have. */
  | 'id-beyond'
  /** The same request is used a second time. */
  | 'twice'
  /** A request is used that was never made. */
  | 'never-made'
  /** More bytes are said to be written than there was room for. */
  | 'too-long'
  /** Requests are used without being served. */
  | 'stale'
  /** Split: the used index goes a ring's size ahead, or back. */
  | 'index-ahead'
  | 'index-back'
  /** Split, IN_ORDER: a later request is used before an earlier one. */
  | 'out-of-order'
  /** Descriptors are overwritten before their request is used. */
  | 'rewrite'
  /** Requests are taken, and never used. */
  | 'never'
  /** Requests are used, and nobody is told. */
  | 'silent'
  /** Many interrupts without a cause, for each that there is one for. */
  | 'storm'
  /** No notification is ever wanted, and nothing is looked at without one. */
  | 'no-kicks'
  /** The device forgets everything. */
  | 'forget'
  /** The backend ends without a word, and begins anew. */
  | 'crash'
  /** DEVICE_NEEDS_RESET. */
  | 'needs-reset';

/** A trick with a queue, after so many requests that were ended as they should. */
export interface TrickLie {
  readonly trick: RingTrick;
  readonly after: number;
  /** Absent: with every queue. */
  readonly queue?: number;
  /** How often it is played, in all; absent: again and again. */
  readonly times?: number;
}

/** What a device wrote into a request's buffers, overwritten before the request is used. */
export interface ContentLie {
  readonly content: readonly number[];
  /** Where in the buffers that the device may write; below 0: so far from their end. */
  readonly at: number;
  readonly queue?: number;
  /** Requests before, which are left alone. */
  readonly after: number;
  readonly times?: number;
}

/** What a device says or does instead of the truth. Reads of one register are counted from 0. */
export type Lie =
  /** These values in turn; the last one for ever. */
  | { readonly register: LyingRegister; readonly says: readonly number[] }
  /** The truth with bits set and cleared, from one read on, for so many reads. */
  | {
      readonly register: LyingRegister;
      readonly sets?: number;
      readonly clears?: number;
      readonly from?: number;
      readonly reads?: number;
    }
  /** Another value at every read. */
  | { readonly register: LyingRegister; readonly counts: true }
  /** DEVICE_NEEDS_RESET from the n-th register access on, with a configuration change interrupt. */
  | { readonly needsResetAfter: number }
  /** Requests are served and used before the driver notifies. */
  | { readonly eager: true }
  /**
   * The backend also completes an access with the id of one that it was never given, of one that it completed before, or
   * once more.
   */
  | { readonly completes: 'foreign' | 'old' | 'twice' }
  | ContentLie
  | TrickLie;

export const isTrick = (lie: Lie): lie is TrickLie => 'trick' in lie;
export const isContent = (lie: Lie): lie is ContentLie => 'content' in lie;
