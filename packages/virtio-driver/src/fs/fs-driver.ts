import { assert, err, ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import type { GuestMemory } from '@remio/guest-memory';
import {
  DEVICE_ID_FILE_SYSTEM,
  ERRNO,
  ERRNO_MAX,
  FS_CONFIG_NUM_REQUEST_QUEUES,
  FS_CONFIG_TAG,
  FS_QUEUE_HIPRIO,
  FS_QUEUE_REQUEST,
  FS_TAG_SIZE,
  FUSE_BATCH_FORGET,
  FUSE_BATCH_FORGET_IN,
  FUSE_FORGET_ONE,
  FUSE_IN_HEADER,
  FUSE_OUT_HEADER,
  readStruct,
  structView,
  writeStruct,
} from '@remio/virtio-spec';
import type { DriverQueue } from '@remio/virtqueue';
import { DeviceBringUp } from '../bring-up.js';
import { type DriverError, driverError } from '../driver-error.js';
import type { MmioTransport } from '../mmio-transport.js';
import type { SharedAllocator } from '../shared-allocator.js';
import { type FsOutcome, fsError } from './fs-error.js';

export interface FsDriverOptions {
  /** Requests in flight, 1 and up. */
  readonly depth?: number;
  /** Bytes of data of one request, at least 8192. */
  readonly dataSize?: number;
}

/** A FUSE request. */
export interface FsRequest {
  readonly opcode: number;
  readonly nodeid: bigint;
  /** What follows the header. */
  readonly args: Uint8Array;
  /** Data of a WRITE. */
  readonly data?: Uint8Array;
  /** Bytes of a reply after its header, at most. */
  readonly room: number;
}

/** A node that the driver knows no more, and how often it was looked up. */
export interface Forgotten {
  readonly nodeid: bigint;
  readonly lookups: bigint;
}

/** Memory of one request, and its end. */
interface Slot {
  /** Shared with the device: where the request lies, and the room for its reply. */
  readonly request: bigint;
  readonly reply: bigint;
  unique: bigint;
  /** Copied out of the shared memory, once, when the device returned the request; undefined while it is in flight. */
  returned: Uint8Array | undefined;
}

interface Queue {
  readonly ring: DriverQueue<Slot>;
  readonly index: number;
  readonly free: Slot[];
}

/** Descriptors of a request: what the device reads, what it writes. */
const REQUEST_DESCRIPTORS = 2;
/** Bytes of a request before its data: header, structure, two names or a link’s target. */
const HEAD_MAX = 8192;
/** Nodes of one BATCH_FORGET, and batches in flight. */
const FORGET_MAX = 64;
const FORGETS = 4;
const FORGET_BYTES = FUSE_IN_HEADER.size + FUSE_BATCH_FORGET_IN.size + FORGET_MAX * FUSE_FORGET_ONE.size;

/**
 * A virtio-fs driver (5.11): carries FUSE requests, of tasks of the vCPU that probed. A reply is believed as far as it is
 * one: its length, its request, its error number.
 */
export class VirtioFsDriver {
  readonly features: bigint;
  /** The name that the device gives the file system. */
  readonly tag: string;
  /** Bytes of data of one request, at most. */
  readonly dataSize: number;
  readonly transport: MmioTransport;
  readonly counters = { requests: 0, notifications: 0, interrupts: 0 };
  readonly #cpu: GuestCpu;
  readonly #memory: GuestMemory;
  readonly #hiprio: Queue;
  readonly #requests: Queue;
  #unique = 0n;
  #broken: DriverError | undefined;

  private constructor(
    cpu: GuestCpu,
    device: DeviceBringUp,
    tag: string,
    dataSize: number,
    hiprio: Queue,
    requests: Queue,
  ) {
    this.features = device.features;
    this.transport = device.transport;
    this.tag = tag;
    this.dataSize = dataSize;
    this.#cpu = cpu;
    this.#memory = device.allocator.memory;
    this.#hiprio = hiprio;
    this.#requests = requests;
  }

  /** Brings a device up, on the vCPU that will take its interrupts and make its requests. */
  static async probe(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: FsDriverOptions = {},
  ): Promise<Result<VirtioFsDriver, DriverError>> {
    const { depth = 4, dataSize = 64 * 1024 } = options;
    const found = await DeviceBringUp.negotiate(cpu, end, DEVICE_ID_FILE_SYSTEM, 0n);
    if (!found.ok) return found;
    const device = found.value;
    const config = await device.transport.readConfig(cpu, () => readConfig(cpu, device.transport));
    if (!config.ok) return config;
    if (config.value.queues < 1) return err(driverError('config', '5.11.4', 'the device has no request queue'));
    const tag = tagOf(config.value.tag);
    if (tag === undefined) return err(driverError('config', '5.11.4', 'the tag is empty, or no UTF-8'));
    const hiprio = await setUpQueue(cpu, device, FS_QUEUE_HIPRIO, FORGETS, FORGET_BYTES, 0);
    if (!hiprio.ok) return hiprio;
    const room = FUSE_OUT_HEADER.size + dataSize;
    const requests = await setUpQueue(cpu, device, FS_QUEUE_REQUEST, depth, HEAD_MAX + dataSize, room);
    if (!requests.ok) return requests;
    const driver = new VirtioFsDriver(cpu, device, tag, dataSize, hiprio.value, requests.value);
    const live = await device.goLive(cpu, {
      used: () => driver.#used(),
      configChanged: () => {},
      needsReset: (error) => {
        driver.#broken ??= error;
      },
    });
    return live.ok ? ok(driver) : live;
  }

  /** Why the device is of no use any more. */
  get broken(): DriverError | undefined {
    return this.#broken;
  }

  /**
   * Makes a request and waits for its reply.
   * @returns what follows the reply’s header, as many bytes as the device says
   */
  async request({ opcode, nodeid, args, data, room }: FsRequest): FsOutcome<Uint8Array> {
    assert(args.length <= HEAD_MAX - FUSE_IN_HEADER.size, 'a request’s head has room');
    assert(room <= this.dataSize && (data?.length ?? 0) <= this.dataSize, 'data is cut to what a request carries');
    const head = this.#message(opcode, nodeid, args, data?.length ?? 0);
    const slot = await this.#send(this.#requests, data === undefined ? [head] : [head, data], room);
    if (slot === undefined) return this.#failure();
    while (slot.returned === undefined) {
      if (this.#broken !== undefined) return this.#failure();
      await this.#cpu.waitForInterrupt();
    }
    const { returned } = slot;
    slot.returned = undefined;
    this.#requests.free.push(slot);
    return replyOf(returned, slot.unique);
  }

  /** Gives nodes back, on the queue of high priority (5.11.6.2); does not wait until the device has heard it. */
  async forget(nodes: readonly Forgotten[]): Promise<void> {
    for (let from = 0; from < nodes.length; from += FORGET_MAX) {
      const batch = nodes.slice(from, from + FORGET_MAX);
      const args = new Uint8Array(FUSE_BATCH_FORGET_IN.size + batch.length * FUSE_FORGET_ONE.size);
      writeStruct(FUSE_BATCH_FORGET_IN, structView(args), 0, { count: batch.length });
      batch.forEach(({ nodeid, lookups: nlookup }, n) => {
        const at = FUSE_BATCH_FORGET_IN.size + n * FUSE_FORGET_ONE.size;
        writeStruct(FUSE_FORGET_ONE, structView(args), at, { nodeid, nlookup });
      });
      await this.#send(this.#hiprio, [this.#message(FUSE_BATCH_FORGET, 0n, args, 0)], undefined);
    }
  }

  #message(opcode: number, nodeid: bigint, args: Uint8Array, data: number): Uint8Array {
    this.#unique += 1n;
    const bytes = new Uint8Array(FUSE_IN_HEADER.size + args.length);
    const len = bytes.length + data;
    writeStruct(FUSE_IN_HEADER, structView(bytes), 0, { len, opcode, unique: this.#unique, nodeid });
    bytes.set(args, FUSE_IN_HEADER.size);
    return bytes;
  }

  /**
   * Makes a request available, when there is room for it.
   * @param room bytes of the reply after its header; undefined: there is no reply
   * @returns undefined if the device is broken
   */
  async #send(queue: Queue, parts: readonly Uint8Array[], room: number | undefined): Promise<Slot | undefined> {
    const unique = this.#unique;
    for (;;) {
      if (this.#broken !== undefined) return undefined;
      const slot = queue.free.pop();
      if (slot !== undefined) {
        slot.unique = unique;
        let length = 0;
        for (const part of parts) {
          const at = this.#memory.locate(slot.request + BigInt(length), part.length);
          this.#memory.bytes(at, part.length).set(part);
          length += part.length;
        }
        const writable = room === undefined ? [] : [{ address: slot.reply, length: FUSE_OUT_HEADER.size + room }];
        if (queue.ring.add([{ address: slot.request, length }], writable, slot)) {
          this.counters.requests += 1;
          if (queue.ring.publish()) {
            this.counters.notifications += 1;
            await this.transport.notify(this.#cpu, queue.index);
          }
          return slot;
        }
        queue.free.push(slot);
      }
      await this.#cpu.waitForInterrupt();
    }
  }

  #failure(): Result<never, { readonly errno: number; readonly code: string; readonly detail: string }> {
    return fsError(ERRNO.EIO, this.#broken?.detail ?? 'the device is broken');
  }

  #used(): void {
    this.counters.interrupts += 1;
    this.#reap(this.#requests, (slot, written) => {
      const at = this.#memory.locate(slot.reply, written);
      slot.returned = at < 0 ? new Uint8Array(0) : this.#memory.bytes(at, written).slice();
    });
    this.#reap(this.#hiprio, (slot) => this.#hiprio.free.push(slot));
  }

  #reap({ ring }: Queue, take: (slot: Slot, written: number) => void): void {
    do {
      for (;;) {
        const element = ring.popUsed();
        if (element.kind === 'empty') break;
        if (element.kind === 'broken') {
          this.#broken ??= driverError('queue', element.error.clause, element.error.detail);
          return;
        }
        take(element.token, element.written);
      }
    } while (ring.setInterrupts(true));
  }
}

/** What a reply says, if it is one of this request. */
function replyOf(bytes: Uint8Array, asked: bigint): Awaited<FsOutcome<Uint8Array>> {
  const wrong = (what: string) => fsError(ERRNO.EPROTO, `the device returned no reply (5.11.6.1): ${what}`);
  if (bytes.length < FUSE_OUT_HEADER.size) return wrong(`${bytes.length} bytes`);
  const { len, error, unique } = readStruct(FUSE_OUT_HEADER, structView(bytes), 0);
  if (len !== bytes.length) return wrong(`its header says ${len} bytes of ${bytes.length}`);
  if (unique !== asked) return wrong(`it is that of request ${unique}, not ${asked}`);
  if (error > 0 || error < -ERRNO_MAX) return wrong(`error ${error}`);
  if (error !== 0) return fsError(-error, 'the device’s answer');
  return ok(bytes.subarray(FUSE_OUT_HEADER.size));
}

async function readConfig(
  cpu: GuestCpu,
  transport: MmioTransport,
): Promise<{ readonly tag: Uint8Array; readonly queues: number }> {
  const tag = new Uint8Array(FS_TAG_SIZE);
  for (let at = 0; at < FS_TAG_SIZE; at += 4) {
    structView(tag).setUint32(at, await transport.config32(cpu, FS_CONFIG_TAG + at), true);
  }
  return { tag, queues: await transport.config32(cpu, FS_CONFIG_NUM_REQUEST_QUEUES) };
}

/** The text of a tag: UTF-8, closed by a NUL if it is shorter than its room (5.11.4). */
function tagOf(bytes: Uint8Array): string | undefined {
  const end = bytes.indexOf(0);
  try {
    const tag = new TextDecoder('utf-8', { fatal: true }).decode(end < 0 ? bytes : bytes.subarray(0, end));
    return tag === '' ? undefined : tag;
  } catch {
    return undefined;
  }
}

async function setUpQueue(
  cpu: GuestCpu,
  device: DeviceBringUp,
  index: number,
  depth: number,
  request: number,
  reply: number,
): Promise<Result<Queue, DriverError>> {
  const ring = await device.setUpQueue<Slot>(cpu, index, depth * REQUEST_DESCRIPTORS, REQUEST_DESCRIPTORS);
  if (!ring.ok) return ring;
  const free: Slot[] = [];
  while (free.length < depth) {
    const slot = allocate(device.allocator, request, reply);
    if (slot === undefined) break;
    free.push(slot);
  }
  return free.length > 0
    ? ok({ ring: ring.value, index, free })
    : err(driverError('memory', '2.7', `the shared memory has no room for a request of queue ${index}`));
}

function allocate(allocator: SharedAllocator, request: number, reply: number): Slot | undefined {
  const [requestAt, replyAt] = [allocator.allocate(request), allocator.allocate(reply)];
  return requestAt === undefined || replyAt === undefined
    ? undefined
    : { request: requestAt, reply: replyAt, unique: 0n, returned: undefined };
}
