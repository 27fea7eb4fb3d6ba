/** Reserved feature bits (6): transports and queues, common to every device. */
export const VIRTIO_F_INDIRECT_DESC = 28;
export const VIRTIO_F_EVENT_IDX = 29;
export const VIRTIO_F_VERSION_1 = 32;
export const VIRTIO_F_ACCESS_PLATFORM = 33;
export const VIRTIO_F_RING_PACKED = 34;
export const VIRTIO_F_IN_ORDER = 35;
export const VIRTIO_F_ORDER_PLATFORM = 36;
export const VIRTIO_F_SR_IOV = 37;
export const VIRTIO_F_NOTIFICATION_DATA = 38;
export const VIRTIO_F_NOTIF_CONFIG_DATA = 39;
export const VIRTIO_F_RING_RESET = 40;

/** A set of features from bit numbers. */
export const featureSet = (...bits: readonly number[]): bigint =>
  bits.reduce((set, bit) => set | (1n << BigInt(bit)), 0n);

/** Whether a set has a feature. */
export const hasFeature = (set: bigint, bit: number): boolean => ((set >> BigInt(bit)) & 1n) !== 0n;

/** Features of queues and their notifications that every device can have (6), by the names that a topology gives them. */
export const RING_FEATURES = {
  indirect_desc: VIRTIO_F_INDIRECT_DESC,
  event_idx: VIRTIO_F_EVENT_IDX,
  packed: VIRTIO_F_RING_PACKED,
  in_order: VIRTIO_F_IN_ORDER,
  notification_data: VIRTIO_F_NOTIFICATION_DATA,
  ring_reset: VIRTIO_F_RING_RESET,
} as const;

export type RingFeatureName = keyof typeof RING_FEATURES;

/** All of {@link RING_FEATURES}: what a device offers unless it is told otherwise. */
export const ALL_RING_FEATURES = featureSet(...Object.values(RING_FEATURES));

/** What a driver accepts unless it is told otherwise. In order, a fast request would wait for slow ones before it. */
export const DRIVER_RING_FEATURES = ALL_RING_FEATURES & ~featureSet(VIRTIO_F_IN_ORDER);

/** Device types (5). */
export const DEVICE_ID_NETWORK = 1;
export const DEVICE_ID_BLOCK = 2;
export const DEVICE_ID_CONSOLE = 3;
export const DEVICE_ID_ENTROPY = 4;
export const DEVICE_ID_VSOCK = 19;
