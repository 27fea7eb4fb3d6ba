/** Packed virtqueues (2.8): structures, flags and alignments. Flags shared with split rings are in `split-ring.ts`. */

/** `struct pvirtq_desc` (2.8.13): addr le64, len le32, id le16, flags le16. */
export const PDESC_SIZE = 16;
export const PDESC_ADDR = 0;
export const PDESC_LEN = 8;
export const PDESC_ID = 12;
export const PDESC_FLAGS = 14;

/** Flags that say whose a descriptor is (2.8.1): they differ while it is available, and are equal once it is used. */
export const VIRTQ_DESC_F_AVAIL = 0x80;
export const VIRTQ_DESC_F_USED = 0x8000;

/**
 * `struct pvirtq_event_suppress` (2.8.14) as one le32: offset in bits 0 to 14, wrap counter in bit 15, flags in bits
 * 16 and 17.
 */
export const EVENT_SUPPRESS_SIZE = 4;
export const EVENT_OFFSET_MASK = 0x7fff;
export const EVENT_WRAP_SHIFT = 15;
export const EVENT_FLAGS_SHIFT = 16;
export const EVENT_FLAGS_MASK = 3;

/** Descriptor Ring Change Event Flags (2.8.10). */
export const RING_EVENT_FLAGS_ENABLE = 0;
export const RING_EVENT_FLAGS_DISABLE = 1;
export const RING_EVENT_FLAGS_DESC = 2;

/** Alignment of the Descriptor Ring and of the two event suppression structures (2.8.10.1). */
export const PDESC_ALIGN = 16;
export const EVENT_SUPPRESS_ALIGN = 4;
