/** Split virtqueues (2.7): structures, flags and alignments. */

/** `struct virtq_desc` (2.7.5): addr le64, len le32, flags le16, next le16. */
export const DESC_SIZE = 16;
export const DESC_ADDR = 0;
export const DESC_LEN = 8;
export const DESC_FLAGS = 12;
export const DESC_NEXT = 14;

export const VIRTQ_DESC_F_NEXT = 1;
export const VIRTQ_DESC_F_WRITE = 2;
export const VIRTQ_DESC_F_INDIRECT = 4;

/** `struct virtq_avail` (2.7.6): flags le16, idx le16, ring le16[size], used_event le16. */
export const AVAIL_FLAGS = 0;
export const AVAIL_IDX = 2;
export const AVAIL_RING = 4;
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;

/** `struct virtq_used` (2.7.8): flags le16, idx le16, ring {id le32, len le32}[size], avail_event le16. */
export const USED_FLAGS = 0;
export const USED_IDX = 2;
export const USED_RING = 4;
export const USED_ELEMENT_SIZE = 8;
export const VIRTQ_USED_F_NO_NOTIFY = 1;

/** Alignment of the three areas (2.7). */
export const DESC_ALIGN = 16;
export const AVAIL_ALIGN = 2;
export const USED_ALIGN = 4;

/** Largest queue (2.7). */
export const QUEUE_SIZE_MAX = 32_768;

/** Bytes of the three areas of a queue of `size` (2.7), the event fields included. */
export const descriptorAreaSize = (size: number): number => DESC_SIZE * size;
export const driverAreaSize = (size: number): number => AVAIL_RING + 2 * size + 2;
export const deviceAreaSize = (size: number): number => USED_RING + USED_ELEMENT_SIZE * size + 2;
