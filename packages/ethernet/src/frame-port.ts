/** Checksums and segments that somebody lets others leave to them (VirtIO 1.4, 5.1.3). */
export interface Offloads {
  /** Frames whose TCP or UDP checksum is that of the pseudo header only. */
  readonly csum: boolean;
  /** TCP over IPv4 in frames larger than the MTU. */
  readonly tso4: boolean;
  /** TCP over IPv6 in frames larger than the MTU. */
  readonly tso6: boolean;
  /** Such large frames with the ECN bits of TCP set. */
  readonly ecn: boolean;
}

export const NO_OFFLOADS: Offloads = { csum: false, tso4: false, tso6: false, ecn: false };
export const ALL_OFFLOADS: Offloads = { csum: true, tso4: true, tso6: true, ecn: true };

/** Whoever uses a port (a device model, a bridge), as the port calls it. */
export interface PortUser {
  /**
   * There may be a frame: follows {@link FramePort.listen}, once. A switch calls it while it forwards, so the user may
   * receive, and must not transmit.
   */
  readable(lane: number): void;
  /** {@link FramePort.linkUp} changed. */
  linkChanged(): void;
}

/**
 * Where frames enter and leave an Ethernet link. Every frame is preceded by `struct virtio_net_hdr` (5.1.9, 12 bytes,
 * little-endian), which says what was left to whom. Nothing waits and nothing grows without bound: a port that cannot
 * take a frame loses it, as a link does.
 *
 * A port has lanes, numbered from 0, for the queue pairs of its user: frames of a flow come on the lane on which the
 * user sent frames of that flow last (5.1.9.5.6).
 */
export interface FramePort {
  /** What a user may leave to this port. */
  readonly offloads: Offloads;
  readonly linkUp: boolean;
  /** To {@link listen} is dear: a user looks again for a while before it does. */
  readonly polled: boolean;
  /** Most lanes that the port can have. */
  readonly lanesMax: number;
  /** Starts frames to flow to a user; nobody else may be using the port. */
  open(user: PortUser): void;
  /** What may be left to the user in frames that it receives, and how many lanes it has; 1 at first. */
  configure(accepts: Offloads, lanes: number): void;
  /**
   * Sends a frame; the bytes are read during the call only.
   * @param header 12 bytes: what the frame leaves to the port is within {@link offloads}
   * @returns false if the frame was lost here
   */
  transmit(lane: number, header: Uint8Array, frame: readonly Uint8Array[]): boolean;
  /**
   * Fills `room` with the next frame's header and bytes.
   * @returns bytes filled; 0: there is no frame; -n: the next frame takes n bytes, which is more than there is room
   */
  receive(lane: number, room: readonly Uint8Array[]): number;
  /** Loses the next frame. */
  skip(lane: number): void;
  /** Asks for a call of {@link PortUser.readable} when there is a frame, after `receive` returned 0. */
  listen(lane: number): void;
  /** Ends what {@link open} began: frames on their way are lost. */
  shut(): void;
  /** The port is not needed any more: what it has of the host is given back. */
  close(): Promise<void>;
}
