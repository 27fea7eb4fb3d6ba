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
export const VIRTIO_BLK_F_LIFETIME = 15;
export const VIRTIO_BLK_F_SECURE_ERASE = 16;
export const VIRTIO_BLK_F_ZONED = 17;

/** Device configuration layout (5.2.4): offsets from the start of the configuration. Numbers of sectors are of 512 bytes. */
export const BLK_CONFIG_CAPACITY = 0;
export const BLK_CONFIG_SIZE_MAX = 8;
export const BLK_CONFIG_SEG_MAX = 12;
export const BLK_CONFIG_CYLINDERS = 16;
export const BLK_CONFIG_HEADS = 18;
export const BLK_CONFIG_SECTORS = 19;
export const BLK_CONFIG_BLK_SIZE = 20;
export const BLK_CONFIG_PHYSICAL_BLOCK_EXP = 24;
export const BLK_CONFIG_ALIGNMENT_OFFSET = 25;
export const BLK_CONFIG_MIN_IO_SIZE = 26;
export const BLK_CONFIG_OPT_IO_SIZE = 28;
export const BLK_CONFIG_WRITEBACK = 32;
export const BLK_CONFIG_NUM_QUEUES = 34;
export const BLK_CONFIG_MAX_DISCARD_SECTORS = 36;
export const BLK_CONFIG_MAX_DISCARD_SEG = 40;
export const BLK_CONFIG_DISCARD_SECTOR_ALIGNMENT = 44;
export const BLK_CONFIG_MAX_WRITE_ZEROES_SECTORS = 48;
export const BLK_CONFIG_MAX_WRITE_ZEROES_SEG = 52;
export const BLK_CONFIG_WRITE_ZEROES_MAY_UNMAP = 56;
export const BLK_CONFIG_MAX_SECURE_ERASE_SECTORS = 60;
export const BLK_CONFIG_MAX_SECURE_ERASE_SEG = 64;
export const BLK_CONFIG_SECURE_ERASE_SECTOR_ALIGNMENT = 68;
/** Bytes up to the fields of zoned devices, which exist with VIRTIO_BLK_F_ZONED only. */
export const BLK_CONFIG_SIZE = 72;

/** Requests (5.2.6): header type le32, reserved le32, sector le64; data; status byte. */
export const BLK_HEADER_SIZE = 16;
export const BLK_STATUS_SIZE = 1;
export const SECTOR_SIZE = 512;

export const VIRTIO_BLK_T_IN = 0;
export const VIRTIO_BLK_T_OUT = 1;
export const VIRTIO_BLK_T_FLUSH = 4;
export const VIRTIO_BLK_T_GET_ID = 8;
export const VIRTIO_BLK_T_GET_LIFETIME = 10;
export const VIRTIO_BLK_T_DISCARD = 11;
export const VIRTIO_BLK_T_WRITE_ZEROES = 13;
export const VIRTIO_BLK_T_SECURE_ERASE = 14;

/** Bytes of the identification string. */
export const BLK_ID_SIZE = 20;

/** A segment of a discard, write zeroes or secure erase (5.2.6): sector le64, num_sectors le32, flags le32. */
export const BLK_RANGE_SIZE = 16;
/** Flag of a segment of a write zeroes: its room may be given back. */
export const BLK_RANGE_UNMAP = 1;

/** What GET_LIFETIME gives (5.2.6): pre_eol_info, then estimates for SLC and MLC cells in tenths; le16 each. */
export const BLK_LIFETIME_SIZE = 6;
/** Largest defined values: urgent; estimated lifetime exceeded. */
export const BLK_PRE_EOL_INFO_MAX = 3;
export const BLK_LIFETIME_EST_MAX = 11;

export const VIRTIO_BLK_S_OK = 0;
export const VIRTIO_BLK_S_IOERR = 1;
export const VIRTIO_BLK_S_UNSUPP = 2;
