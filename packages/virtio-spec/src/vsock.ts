/** Socket device (5.10). */

/** Feature bits (5.10.3). */
export const VIRTIO_VSOCK_F_STREAM = 0;
export const VIRTIO_VSOCK_F_SEQPACKET = 1;
export const VIRTIO_VSOCK_F_NO_IMPLIED_STREAM = 2;

/** Virtqueues (5.10.2). */
export const VSOCK_RXQ = 0;
export const VSOCK_TXQ = 1;
export const VSOCK_EVENTQ = 2;

/** Device configuration layout (5.10.4): guest_cid le64. */
export const VSOCK_CONFIG_GUEST_CID = 0;
export const VSOCK_CONFIG_SIZE = 8;

/** Well-known CID of the host (5.10.4). */
export const VSOCK_CID_HOST = 2n;

/** Whether a CID can be a guest's (5.10.4): the upper half is zero, and some are reserved. */
export const isGuestCid = (cid: bigint): boolean => cid > VSOCK_CID_HOST && cid < 0xffff_ffffn;

/** `struct virtio_vsock_hdr` (5.10.6). */
export const VSOCK_HEADER_SIZE = 44;
export const VSOCK_HDR_SRC_CID = 0;
export const VSOCK_HDR_DST_CID = 8;
export const VSOCK_HDR_SRC_PORT = 16;
export const VSOCK_HDR_DST_PORT = 20;
export const VSOCK_HDR_LEN = 24;
export const VSOCK_HDR_TYPE = 28;
export const VSOCK_HDR_OP = 30;
export const VSOCK_HDR_FLAGS = 32;
export const VSOCK_HDR_BUF_ALLOC = 36;
export const VSOCK_HDR_FWD_CNT = 40;

/** Socket types (5.10.6.2). */
export const VIRTIO_VSOCK_TYPE_STREAM = 1;
export const VIRTIO_VSOCK_TYPE_SEQPACKET = 2;

/** Operations (5.10.6). */
export const VIRTIO_VSOCK_OP_INVALID = 0;
export const VIRTIO_VSOCK_OP_REQUEST = 1;
export const VIRTIO_VSOCK_OP_RESPONSE = 2;
export const VIRTIO_VSOCK_OP_RST = 3;
export const VIRTIO_VSOCK_OP_SHUTDOWN = 4;
export const VIRTIO_VSOCK_OP_RW = 5;
export const VIRTIO_VSOCK_OP_CREDIT_UPDATE = 6;
export const VIRTIO_VSOCK_OP_CREDIT_REQUEST = 7;

/** Flags of SHUTDOWN, as masks (5.10.6.5). */
export const VIRTIO_VSOCK_SHUTDOWN_F_RECEIVE = 1 << 0;
export const VIRTIO_VSOCK_SHUTDOWN_F_SEND = 1 << 1;

/** `struct virtio_vsock_event` (5.10.6.7): id le32. */
export const VSOCK_EVENT_SIZE = 4;
export const VIRTIO_VSOCK_EVENT_TRANSPORT_RESET = 0;
