import { readdirSync, readlinkSync } from 'node:fs';
import { assert, guestAddress, type Result } from '@remio/base';
import { allocateMemory, DelayedMemory, type LocalMemory } from '@remio/guest-memory';
import { type DeviceIo, type FileTree, FsDevice, type FsOptions } from '@remio/virtio-device';
import {
  FS_QUEUE_REQUEST,
  FUSE_ENTRY_OUT,
  FUSE_IN_HEADER,
  FUSE_INIT,
  FUSE_INIT_IN,
  FUSE_LOOKUP,
  FUSE_OUT_HEADER,
  readStruct,
  structBytes,
  structView,
} from '@remio/virtio-spec';
import {
  activateDeviceQueue,
  createDriverQueue,
  type DriverQueue,
  type GuestBuffer,
  layoutQueue,
} from '@remio/virtqueue';

const BASE = guestAddress(0x4000_0000n);
const MEMORY = 2 << 20;
const QUEUE = 64;

/** How a request came back: its head with `written` bytes, and the reply that they hold, if they are one. */
export interface Returned {
  readonly written: number;
  /** 0, or the error number, positive; undefined: there is no reply. */
  readonly error: number | undefined;
  readonly unique: bigint;
  readonly payload: Uint8Array;
}

export interface RigOptions extends Partial<FsOptions> {
  /** Memory that is far away. */
  readonly far?: boolean;
  readonly littleEndian?: boolean;
}

/** Bytes one after another; text is followed by a NUL. */
export const bytes = (...parts: readonly (Uint8Array | string)[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...(typeof part === 'string' ? Buffer.from(`${part}\0`) : part)]));

/** What the driver's memory and the device share, and requests on real rings: a file system device without a platform. */
export class FuseRig {
  readonly device: FsDevice;
  readonly memory: LocalMemory;
  readonly littleEndian: boolean;
  readonly #seen: LocalMemory | DelayedMemory;
  readonly #driver: readonly DriverQueue<(written: number) => void>[];
  /** Where the buffers start, after the rings; where the next one goes. */
  readonly #first: number;
  #next: number;
  #unique = 100n;

  constructor(tree: FileTree, options: RigOptions = {}) {
    this.device = new FsDevice(tree, { tag: 'rig', ...options });
    this.littleEndian = options.littleEndian ?? true;
    this.memory = allocateMemory(BASE, MEMORY);
    this.#seen = options.far === true ? new DelayedMemory(this.memory) : this.memory;
    const area = layoutQueue(0n, QUEUE, 0n).bytes;
    const configs = Array.from(
      { length: this.device.queueCount },
      (_, n) => layoutQueue(BASE + BigInt(n * 0x1000 * Math.ceil(area / 0x1000)), QUEUE, 0n).config,
    );
    this.#driver = configs.map((config) =>
      value(createDriverQueue<(written: number) => void>(this.memory, config, 0n)),
    );
    this.#first = this.device.queueCount * 0x1000 * Math.ceil(area / 0x1000);
    this.#next = this.#first;
    this.activate(configs.map((config) => value(activateDeviceQueue(this.#seen, config, 0n))));
  }

  /** Sends a request whose header says what is true. */
  send(
    opcode: number,
    nodeid: bigint,
    args: Uint8Array = new Uint8Array(0),
    { room = 4096, queue = FS_QUEUE_REQUEST, uid = 0 } = {},
  ): Promise<Returned> {
    const len = FUSE_IN_HEADER.size + args.length;
    this.#unique += 1n;
    const header = structBytes(FUSE_IN_HEADER, { len, opcode, unique: this.#unique, nodeid, uid }, this.littleEndian);
    return this.raw([header, args], room === 0 ? [] : [room], queue);
  }

  /** Sends any bytes, in as many buffers. */
  async raw(readable: readonly Uint8Array[], writable: readonly number[], queue = FS_QUEUE_REQUEST): Promise<Returned> {
    const given = readable.filter((part) => part.length > 0).map((part) => this.place(part));
    const rooms = writable.map((length) => this.place(new Uint8Array(length).fill(0xee)));
    const written = await this.chain(given, rooms, queue);
    const reply = bytes(...rooms.map((room) => this.at(room))).subarray(0, written);
    if (written < FUSE_OUT_HEADER.size) return { written, error: undefined, unique: 0n, payload: reply };
    const { len, error, unique } = readStruct(FUSE_OUT_HEADER, structView(reply), 0, this.littleEndian);
    assert(len === written, `the reply's header says ${len}, the ring ${written}`);
    return { written, error: error === 0 ? 0 : -error, unique, payload: reply.subarray(FUSE_OUT_HEADER.size) };
  }

  /** Makes a chain available, notifies, and waits until it was used. */
  chain(readable: readonly GuestBuffer[], writable: readonly GuestBuffer[], queue: number): Promise<number> {
    const ring = this.#driver[queue];
    assert(ring !== undefined, `there is a queue ${queue}`);
    return new Promise((resolve) => {
      assert(ring.add(readable, writable, resolve), 'the ring has room');
      ring.publish();
      this.device.notify(queue);
      this.deliver();
    });
  }

  /** Puts bytes into the shared memory. */
  place(content: Uint8Array): GuestBuffer {
    // At the end, from the start again: what lies there was used long ago.
    const offset = this.#next + content.length <= MEMORY ? this.#next : this.#first;
    assert(offset + content.length <= MEMORY, 'the memory has room');
    this.#next = Math.ceil((offset + content.length) / 64) * 64;
    this.memory.bytes(offset, content.length).set(content);
    return { address: BASE + BigInt(offset), length: content.length };
  }

  at({ address, length }: GuestBuffer): Uint8Array {
    return this.memory.bytes(Number(address - BASE), length).slice();
  }

  /** Starts a session. */
  async init(minor = 31): Promise<Returned> {
    const args = structBytes(
      FUSE_INIT_IN,
      { major: 7, minor, max_readahead: 1 << 20, flags: 0xffff_ffff },
      this.littleEndian,
    );
    return this.send(FUSE_INIT, 0n, args);
  }

  /** Looks a name up, and says its node id. */
  async lookup(parent: bigint, name: string): Promise<bigint> {
    const { error, payload } = await this.send(FUSE_LOOKUP, parent, bytes(name));
    assert(error === 0, `${name} is there: ${error}`);
    return readStruct(FUSE_ENTRY_OUT, structView(payload), 0, this.littleEndian).nodeid;
  }

  /** Resets the device; settles when it says that it is done. */
  reset(): Promise<void> {
    return new Promise((resolve) => this.device.reset(resolve));
  }

  private activate(queues: DeviceIo['queues']): void {
    const waiting: (() => void)[] = [];
    this.#seen.onLocal = () => {
      for (const work of waiting.splice(0)) work();
    };
    this.device.activate({
      memory: this.#seen,
      features: 0n,
      queues,
      whenLocal: (work) => waiting.push(work),
      used: (queue) => this.reap(queue),
      configChanged: () => {},
      broken: (queue, error) => assert(false, `queue ${queue} is broken: ${error.detail}`),
      defer: (work) =>
        setImmediate(() => {
          work();
          this.deliver();
        }),
    });
  }

  /** Lets memory that is far away arrive, until nobody asks for more. */
  private deliver(): void {
    if (!(this.#seen instanceof DelayedMemory)) return;
    while (this.#seen.deliver()) {}
    this.#seen.forget();
  }

  private reap(queue: number): void {
    for (;;) {
      const used = this.#driver[queue]?.popUsed();
      if (used?.kind !== 'used') return;
      used.token(used.written);
    }
  }
}

const value = <T>(result: Result<T, { readonly detail: string }>): T => {
  assert(result.ok, result.ok ? '' : result.error.detail);
  return result.value;
};

/** Descriptors of this process that lead to somewhere below a directory. */
export const descriptorsBelow = (directory: string): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(directory);
    } catch {
      return false;
    }
  }).length;
