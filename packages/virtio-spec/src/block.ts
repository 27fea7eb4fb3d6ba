/** Block device (5.2). */

/** Feature bits (5.2.3). */
export const VIRTIO_BLK_F_SIZE_MAX = 1;
export const VIRTIO_BLK_F_SEG_MAX = 2;
export const VIRTIO_BLK_F_GEOMETRY = 4;
export const VIRTIO_BLK_F_RO = 5;
export const VIRTIO_BLK_F_BLK_SIZE = 6;
export const VIRTIO_BLK_F_FLUSH = 9;
export const VIRTIO_BLK_F_TOPOLOGY = 10;
export const VIRTIO_BLK_F_CONFIG_WCE = 11;
export const VIRTIO_BLK_F_MQ = 12;
export const VIRTIO_BLK_F_DISCARD = 13;
export const VIRTIO_BLK_F_WRITE_ZEROES = 14;

/** Device configuration layout (5.2.4): offsets from the start of the configuration. */
export const BLK_CONFIG_CAPACITY = 0;
export const BLK_CONFIG_SIZE_MAX = 8;
export const BLK_CONFIG_SEG_MAX = 12;
export const BLK_CONFIG_BLK_SIZE = 20;
export const BLK_CONFIG_NUM_QUEUES = 34;
export const BLK_CONFIG_SIZE = 60;

/** Requests (5.2.6): header type le32, reserved le32, sector le64; data; status byte. */
export const BLK_HEADER_SIZE = 16;
export const BLK_STATUS_SIZE = 1;
export const SECTOR_SIZE = 512;

export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;

/** Bytes of the identification string. */
export const BLK_ID_SIZE = 20;

export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;
