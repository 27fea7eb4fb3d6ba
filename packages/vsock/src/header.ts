import {
  VIRTIO_VSOCK_TYPE_STREAM,
  VSOCK_HDR_BUF_ALLOC,
  VSOCK_HDR_DST_CID,
  VSOCK_HDR_DST_PORT,
  VSOCK_HDR_FLAGS,
  VSOCK_HDR_FWD_CNT,
  VSOCK_HDR_LEN,
  VSOCK_HDR_OP,
  VSOCK_HDR_SRC_CID,
  VSOCK_HDR_SRC_PORT,
  VSOCK_HDR_TYPE,
  VSOCK_HEADER_SIZE,
} from '@remio/virtio-spec';

/** The two ends of a flow (5.10.6.2), from where it is looked at. */
export interface VsockFlow {
  readonly localCid: bigint;
  readonly localPort: number;
  readonly peerCid: bigint;
  readonly peerPort: number;
}

/** `struct virtio_vsock_hdr` (5.10.6), as it was received. */
export interface VsockHeader {
  readonly srcCid: bigint;
  readonly dstCid: bigint;
  readonly srcPort: number;
  readonly dstPort: number;
  /** Bytes of payload. */
  readonly length: number;
  readonly type: number;
  readonly op: number;
  readonly flags: number;
  readonly bufAlloc: number;
  readonly fwdCnt: number;
}

/** Reads a header, once: {@link VSOCK_HEADER_SIZE} bytes that nobody else can change. */
export function readHeader(bytes: Uint8Array): VsockHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, VSOCK_HEADER_SIZE);
  return {
    srcCid: view.getBigUint64(VSOCK_HDR_SRC_CID, true),
    dstCid: view.getBigUint64(VSOCK_HDR_DST_CID, true),
    srcPort: view.getUint32(VSOCK_HDR_SRC_PORT, true),
    dstPort: view.getUint32(VSOCK_HDR_DST_PORT, true),
    length: view.getUint32(VSOCK_HDR_LEN, true),
    type: view.getUint16(VSOCK_HDR_TYPE, true),
    op: view.getUint16(VSOCK_HDR_OP, true),
    flags: view.getUint32(VSOCK_HDR_FLAGS, true),
    bufAlloc: view.getUint32(VSOCK_HDR_BUF_ALLOC, true),
    fwdCnt: view.getUint32(VSOCK_HDR_FWD_CNT, true),
  };
}

/** What a packet says besides its flow. */
export interface VsockSaid {
  readonly op: number;
  readonly length?: number;
  readonly flags?: number;
  readonly bufAlloc?: number;
  readonly fwdCnt?: number;
}

/** Makes the header of a packet that leaves this end of a flow. */
export function makeHeader(flow: VsockFlow, said: VsockSaid): Uint8Array {
  const bytes = new Uint8Array(VSOCK_HEADER_SIZE);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(VSOCK_HDR_SRC_CID, flow.localCid, true);
  view.setBigUint64(VSOCK_HDR_DST_CID, flow.peerCid, true);
  view.setUint32(VSOCK_HDR_SRC_PORT, flow.localPort, true);
  view.setUint32(VSOCK_HDR_DST_PORT, flow.peerPort, true);
  view.setUint32(VSOCK_HDR_LEN, said.length ?? 0, true);
  view.setUint16(VSOCK_HDR_TYPE, VIRTIO_VSOCK_TYPE_STREAM, true);
  view.setUint16(VSOCK_HDR_OP, said.op, true);
  view.setUint32(VSOCK_HDR_FLAGS, said.flags ?? 0, true);
  view.setUint32(VSOCK_HDR_BUF_ALLOC, said.bufAlloc ?? 0, true);
  view.setUint32(VSOCK_HDR_FWD_CNT, said.fwdCnt ?? 0, true);
  return bytes;
}
