/** File system device (5.11). Its requests are FUSE's: fuse.ts. */

/** Device type (5.11.1). */
export const DEVICE_ID_FILE_SYSTEM = 26;

/** Feature bits (5.11.3). */
export const VIRTIO_FS_F_NOTIFICATION = 0;

/** Virtqueues (5.11.2). Without VIRTIO_FS_F_NOTIFICATION the request queues follow hiprio. */
export const FS_QUEUE_HIPRIO = 0;
export const FS_QUEUE_REQUEST = 1;

/** Device configuration layout (5.11.4): offsets from the start of the configuration. */
export const FS_CONFIG_TAG = 0;
export const FS_CONFIG_NUM_REQUEST_QUEUES = 36;
/** Without VIRTIO_FS_F_NOTIFICATION, `notify_buf_size` is not there. */
export const FS_CONFIG_SIZE = 40;

/** Bytes of the tag, UTF-8, padded with NUL; without one if it takes all of them. */
export const FS_TAG_SIZE = 36;
