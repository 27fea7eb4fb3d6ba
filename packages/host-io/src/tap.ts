import { closeSync, constants, openSync } from 'node:fs';
import { assert, err, ok, type Result } from '@remio/base';
import {
  ALL_OFFLOADS,
  Cursor,
  type FramePort,
  lengthOf,
  NO_OFFLOADS,
  type Offloads,
  type PortUser,
} from '@remio/ethernet';
import { NET_GSO_FRAME_MAX, NET_HEADER_SIZE } from '@remio/virtio-spec';
import { addressOf, EAGAIN, EBADFD, EIO, errno, failure, linux } from './linux.js';
import { readiness } from './readiness.js';

const DEVICE = '/dev/net/tun';

/** Requests and flags of linux/if_tun.h. */
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const TUNSETQUEUE = 0x400454d9;
const TUNSETVNETLE = 0x400454dc;
const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_ATTACH_QUEUE = 0x0200;
const IFF_DETACH_QUEUE = 0x0400;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
const TUN_F_TSO6 = 0x04;
const TUN_F_TSO_ECN = 0x08;

/** `struct ifreq`: a name, then what the request takes. */
const IFREQ_BYTES = 40;
const IFREQ_NAME_MAX = 15;
const IFREQ_FLAGS = 16;

/** Parts that one readv or writev takes (IOV_MAX, less the header and the overflow). */
const PARTS_MAX = 1000;
/** Frames of a former user that the kernel may still have queued for each lane. */
const STALE_FRAMES_MAX = 4096;
const FRAME_MAX = NET_HEADER_SIZE + NET_GSO_FRAME_MAX;

/** A frame that was read and did not fit, kept until there is room. */
interface Lane {
  readonly fd: number;
  held: Uint8Array | undefined;
}

/**
 * A TAP interface of the host: what is sent comes out of the host's network stack, and the other way round. Checksums and
 * segments are left to the kernel, or taken from it, as the users agree (IFF_VNET_HDR); large frames are what makes TCP
 * fast. Each lane is a queue of the interface; the kernel steers flows as 5.1.9.5.6 says.
 */
export class TapPort implements FramePort {
  readonly offloads: Offloads = ALL_OFFLOADS;
  readonly polled = true;
  readonly lanesMax: number;
  readonly #lanes: readonly Lane[];
  readonly #vectors = new BigUint64Array(2 * (PARTS_MAX + 2));
  /** Takes what does not fit in the room that a user gave. */
  readonly #overflow = new Uint8Array(FRAME_MAX);
  readonly #overflowAddress = addressOf(this.#overflow);
  #attached: number;
  #linkUp = true;
  #user: PortUser | undefined;

  private constructor(fds: readonly number[]) {
    this.lanesMax = fds.length;
    this.#lanes = fds.map((fd) => ({ fd, held: undefined }));
    this.#attached = fds.length;
    fds.forEach((fd, lane) => {
      readiness().add(fd, () => this.#user?.readable(lane));
    });
  }

  /**
   * Opens an interface, and makes it if there is none of that name.
   * @param lanes queues, 1 and up
   * @returns what is wrong, and what to do
   */
  static open(name: string, lanes = 1): Result<TapPort, string> {
    const fds: number[] = [];
    const refuse = (reason: string): Result<never, string> => {
      for (const fd of fds) closeSync(fd);
      return err(`TAP interface ${name}: ${reason}`);
    };
    for (let lane = 0; lane < lanes; lane += 1) {
      const fd = openDevice();
      if (!fd.ok) return refuse(fd.error);
      fds.push(fd.value);
      const flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (lanes > 1 ? IFF_MULTI_QUEUE : 0);
      if (linux().ioctl(fd.value, TUNSETIFF, ifreq(name, flags)) < 0) return refuse(whyNot(failure(), lanes));
      const size = new Uint8Array(new Int32Array([NET_HEADER_SIZE]).buffer);
      const one = new Uint8Array(new Int32Array([1]).buffer);
      if (linux().ioctl(fd.value, TUNSETVNETHDRSZ, size) < 0 || linux().ioctl(fd.value, TUNSETVNETLE, one) < 0) {
        return refuse(`the kernel knows no header of ${NET_HEADER_SIZE} bytes (${failure()})`);
      }
    }
    return ok(new TapPort(fds));
  }

  /** False once the interface was found down or gone; true again when a frame passes. */
  get linkUp(): boolean {
    return this.#linkUp;
  }

  open(user: PortUser): void {
    assert(this.#user === undefined, 'a TAP interface has one user');
    this.configure(NO_OFFLOADS, this.lanesMax);
    this.#lanes.forEach((_, lane) => {
      this.#discard(lane);
    });
    this.configure(NO_OFFLOADS, 1);
    this.#user = user;
  }

  configure(accepts: Offloads, lanes: number): void {
    assert(lanes >= 1 && lanes <= this.lanesMax, `the interface has ${this.lanesMax} queues`);
    for (; this.#attached < lanes; this.#attached += 1) this.#setQueue(this.#attached, IFF_ATTACH_QUEUE);
    for (; this.#attached > lanes; this.#attached -= 1) this.#setQueue(this.#attached - 1, IFF_DETACH_QUEUE);
    const { csum, tso4, tso6, ecn } = accepts;
    const bits =
      (csum ? TUN_F_CSUM : 0) | (tso4 ? TUN_F_TSO4 : 0) | (tso6 ? TUN_F_TSO6 : 0) | (ecn ? TUN_F_TSO_ECN : 0);
    const [first] = this.#lanes;
    // A kernel that refuses does everything itself: nothing is left to the user that it did not accept.
    if (first !== undefined) linux().ioctl(first.fd, TUNSETOFFLOAD, BigInt(bits));
  }

  transmit(lane: number, header: Uint8Array, frame: readonly Uint8Array[]): boolean {
    const to = this.#lanes[lane];
    if (to === undefined) return false;
    const parts = frame.length > PARTS_MAX ? [joined(frame)] : frame;
    this.#vector(0, addressOf(header), header.length);
    let count = 1;
    for (const bytes of parts) {
      if (bytes.length === 0) continue;
      this.#vector(count, addressOf(bytes), bytes.length);
      count += 1;
    }
    const sent = linux().writev(to.fd, this.#vectors, count) >= 0;
    if (sent) this.#setLink(true);
    else if (errno() === EIO || errno() === EBADFD) this.#setLink(false);
    return sent;
  }

  receive(lane: number, room: readonly Uint8Array[]): number {
    const from = this.#lanes[lane];
    if (from === undefined) return 0;
    if (from.held === undefined) {
      const length = this.#read(from, room);
      if (length >= 0 && from.held === undefined) return length;
    }
    const { held } = from;
    if (held === undefined) return 0;
    if (lengthOf(room) < held.length) return -held.length;
    new Cursor(room).put(held);
    from.held = undefined;
    return held.length;
  }

  skip(lane: number): void {
    const from = this.#lanes[lane];
    if (from !== undefined) from.held = undefined;
  }

  listen(lane: number): void {
    const from = this.#lanes[lane];
    if (from !== undefined) readiness().arm(from.fd);
  }

  shut(): void {
    for (const lane of this.#lanes) {
      readiness().disarm(lane.fd);
      lane.held = undefined;
    }
    this.#user = undefined;
  }

  close(): Promise<void> {
    this.shut();
    for (const { fd } of this.#lanes) {
      readiness().remove(fd);
      closeSync(fd);
    }
    return Promise.resolve();
  }

  /**
   * Reads a frame into the room; one that is longer is held.
   * @returns bytes read, 0 if there is no frame; nothing was put into the room if the lane holds one afterwards
   */
  #read(lane: Lane, room: readonly Uint8Array[]): number {
    const fits = room.length <= PARTS_MAX;
    let count = 0;
    let space = 0;
    if (fits) {
      for (const bytes of room) {
        if (bytes.length === 0) continue;
        this.#vector(count, addressOf(bytes), bytes.length);
        space += bytes.length;
        count += 1;
      }
    }
    this.#vector(count, this.#overflowAddress, this.#overflow.length);
    const length = linux().readv(lane.fd, this.#vectors, count + 1);
    if (length <= 0) {
      if (length < 0 && errno() !== EAGAIN) this.#setLink(false);
      return 0;
    }
    this.#setLink(true);
    if (length <= space) return length;
    const held = new Uint8Array(length);
    const at = new Cursor([held]);
    if (fits) for (const bytes of room) at.put(bytes);
    at.put(this.#overflow.subarray(0, length - space));
    lane.held = held;
    return 0;
  }

  #discard(lane: number): void {
    const from = this.#lanes[lane];
    if (from === undefined) return;
    from.held = undefined;
    for (let n = 0; n < STALE_FRAMES_MAX; n += 1) {
      this.#vector(0, this.#overflowAddress, this.#overflow.length);
      if (linux().readv(from.fd, this.#vectors, 1) <= 0) return;
    }
  }

  #vector(index: number, address: bigint, length: number): void {
    this.#vectors[2 * index] = address;
    this.#vectors[2 * index + 1] = BigInt(length);
  }

  #setQueue(lane: number, flag: number): void {
    const at = this.#lanes[lane];
    if (at !== undefined && this.lanesMax > 1) linux().ioctl(at.fd, TUNSETQUEUE, ifreq('', flag));
  }

  #setLink(up: boolean): void {
    if (this.#linkUp === up) return;
    this.#linkUp = up;
    this.#user?.linkChanged();
  }
}

function openDevice(): Result<number, string> {
  try {
    return ok(openSync(DEVICE, constants.O_RDWR | constants.O_NONBLOCK));
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    if (code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO') {
      return err(
        `there is no ${DEVICE} (${code}); load the kernel's module tun, or pass the device into the container`,
      );
    }
    if (code === 'EACCES' || code === 'EPERM') {
      return err(`${DEVICE} may not be opened (${code}); run as root, or allow this user to read and write it`);
    }
    return err(`${DEVICE} cannot be opened (${code})`);
  }
}

function ifreq(name: string, flags: number): Uint8Array {
  const request = new Uint8Array(IFREQ_BYTES);
  new TextEncoder().encodeInto(name, request.subarray(0, IFREQ_NAME_MAX));
  new DataView(request.buffer).setUint16(IFREQ_FLAGS, flags, true);
  return request;
}

const whyNot = (code: string, lanes: number): string => {
  switch (code) {
    case 'EPERM':
      return 'no permission (EPERM); run with CAP_NET_ADMIN, or let root make it: ip tuntap add NAME mode tap user YOU vnet_hdr';
    case 'EBUSY':
      return 'in use by another process (EBUSY); give each end an interface of its own';
    case 'EINVAL':
      return `there is an interface of that name that is no TAP, or has ${lanes > 1 ? 'one queue' : 'several queues'} (EINVAL)`;
    default:
      return `cannot be opened (${code})`;
  }
};

const joined = (parts: readonly Uint8Array[]): Uint8Array => {
  const all = new Uint8Array(lengthOf(parts));
  const at = new Cursor([all]);
  for (const bytes of parts) at.put(bytes);
  return all;
};
