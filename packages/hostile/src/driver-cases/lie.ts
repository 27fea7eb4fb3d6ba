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
  /** Descriptors are overwritten whenever no chain is available. */
  | 'rewrite'
  /** Requests are taken, and never used. */
  | 'never'
  /** Requests are used, and nobody is told. */
  | 'silent'
  /** Many interrupts without a cause, for each that there is one for. */
  | 'storm'
  /** No notification is ever wanted, and nothing is looked at without one. */
  | 'no-kicks'
  /** The device forgets everything, as when its process was started anew. */
  | 'forget'
  /** DEVICE_NEEDS_RESET. */
  | 'needs-reset';

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
  /** A trick with a queue, after so many requests that were ended as they should. */
  | { readonly trick: RingTrick; readonly after: number };

/** The register or the trick that a lie is about. */
export const isTrick = (lie: Lie): lie is Extract<Lie, { readonly trick: RingTrick }> => 'trick' in lie;
