import { assert, err, ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
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
  structBytes,
  structView,
  writeStruct,
} from '@remio/virtio-spec';
import { DeviceBringUp } from '../bring-up.js';
import { despiteLoss } from '../despite-loss.js';
import { type DriverError, driverError } from '../driver-error.js';
import type { MmioTransport } from '../mmio-transport.js';
import { RequestQueue } from '../request-queue.js';
import { type FsOutcome, fsError } from './fs-error.js';

export interface FsDriverOptions {
  /** Requests in flight of each queue, 1 and up. */
  readonly depth?: number;
  /**
   * vCPUs by number of the queue that each uses, from that of high priority (0) on: as many request queues are used as are
   * named, if the device has them. The vCPU that probes unless it says otherwise, and one request queue.
   */
  readonly queues?: readonly GuestCpu[];
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

/** Bytes of a request before its data: header, structure, two names or a link’s target. */
const HEAD_MAX = 8192;
/** Nodes of one BATCH_FORGET, and batches in flight. */
const FORGET_MAX = 64;
const FORGETS = 4;
const FORGET_BYTES = FUSE_IN_HEADER.size + FUSE_BATCH_FORGET_IN.size + FORGET_MAX * FUSE_FORGET_ONE.size;

/**
 * A virtio-fs driver (5.11): carries FUSE requests, over all its request queues in turn. A reply is believed as far as it is
 * one: its length, its request, its error number.
 */
export class VirtioFsDriver {
  readonly features: bigint;
  /** The name that the device gives the file system. */
  readonly tag: string;
  /** Bytes of data of one request, at most. */
  readonly dataSize: number;
  readonly transport: MmioTransport;
  readonly #hiprio: RequestQueue;
  readonly #requests: readonly RequestQueue[];
  /** The request queue whose turn it is. */
  #turn = 0;
  #interrupts = 0;
  #unique = 0n;

  private constructor(
    device: DeviceBringUp,
    tag: string,
    dataSize: number,
    hiprio: RequestQueue,
    requests: readonly RequestQueue[],
  ) {
    this.features = device.features;
    this.transport = device.transport;
    this.tag = tag;
    this.dataSize = dataSize;
    this.#hiprio = hiprio;
    this.#requests = requests;
  }

  /** Brings a device up, on the vCPU that will take its interrupts. */
  static probe(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: FsDriverOptions = {},
  ): Promise<Result<VirtioFsDriver, DriverError>> {
    return despiteLoss(cpu, end, () => VirtioFsDriver.#attempt(cpu, end, options));
  }

  static async #attempt(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: FsDriverOptions,
  ): Promise<Result<VirtioFsDriver, DriverError>> {
    const { depth = 4, dataSize = 64 * 1024, queues: vcpus = [cpu, cpu] } = options;
    const found = await DeviceBringUp.negotiate(cpu, end, DEVICE_ID_FILE_SYSTEM, 0n);
    if (!found.ok) return found;
    const device = found.value;
    const config = await device.transport.readConfig(cpu, () => readConfig(cpu, device.transport));
    if (!config.ok) return config;
    if (config.value.queues < 1) return err(driverError('config', '5.11.4', 'the device has no request queue'));
    const tag = tagOf(config.value.tag);
    if (tag === undefined) return err(driverError('config', '5.11.4', 'the tag is empty, or no UTF-8'));
    const hiprio = await RequestQueue.setUp(vcpus[FS_QUEUE_HIPRIO] ?? cpu, device, FS_QUEUE_HIPRIO, {
      depth: FORGETS,
      requestSize: FORGET_BYTES,
      replySize: 0,
    });
    if (!hiprio.ok) return hiprio;
    const requests: RequestQueue[] = [];
    const count = Math.max(1, Math.min(config.value.queues, vcpus.length - FS_QUEUE_REQUEST));
    for (let index = FS_QUEUE_REQUEST; index < FS_QUEUE_REQUEST + count; index += 1) {
      const queue = await RequestQueue.setUp(vcpus[index] ?? cpu, device, index, {
        depth,
        requestSize: HEAD_MAX + dataSize,
        replySize: FUSE_OUT_HEADER.size + dataSize,
      });
      if (!queue.ok) return queue;
      requests.push(queue.value);
    }
    const driver = new VirtioFsDriver(device, tag, dataSize, hiprio.value, requests);
    const queues = [hiprio.value, ...requests];
    const tell = (): void => {
      for (const { cpu: other } of queues) if (other !== cpu) other.sendIpi(other.index);
    };
    const live = await device.goLive(cpu, {
      used: () => {
        driver.#interrupts += 1;
        for (const queue of queues) queue.reap();
        tell();
      },
      configChanged: () => {},
      lost: (error) => {
        for (const queue of queues) queue.fail(error);
        tell();
      },
    });
    return live.ok ? ok(driver) : live;
  }

  get counters(): { readonly requests: number; readonly notifications: number; readonly interrupts: number } {
    const all = [this.#hiprio, ...this.#requests].map(({ counters }) => counters);
    return {
      requests: all.reduce((sum, { requests }) => sum + requests, 0),
      notifications: all.reduce((sum, { notifications }) => sum + notifications, 0),
      interrupts: this.#interrupts,
    };
  }

  /**
   * Makes a request and waits for its reply.
   * @returns what follows the reply’s header, as many bytes as the device says
   */
  async request({ opcode, nodeid, args, data, room }: FsRequest): FsOutcome<Uint8Array> {
    assert(args.length <= HEAD_MAX - FUSE_IN_HEADER.size, 'a request’s head has room');
    assert(room <= this.dataSize && (data?.length ?? 0) <= this.dataSize, 'data is cut to what a request carries');
    const { bytes, unique } = this.#message(opcode, nodeid, args, data?.length ?? 0);
    const parts = data === undefined ? [bytes] : [bytes, data];
    const queue = this.#requests[this.#turn];
    assert(queue !== undefined, 'a driver has a request queue');
    this.#turn = (this.#turn + 1) % this.#requests.length;
    const replies = await queue.ask([{ parts, room: FUSE_OUT_HEADER.size + room }]);
    const [reply] = replies ?? [];
    if (reply === undefined) return fsError(ERRNO.EIO, queue.broken?.detail ?? 'the device is broken');
    return replyOf(reply, unique);
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
      await this.#hiprio.tell([this.#message(FUSE_BATCH_FORGET, 0n, args, 0).bytes]);
    }
  }

  #message(
    opcode: number,
    nodeid: bigint,
    args: Uint8Array,
    data: number,
  ): { readonly bytes: Uint8Array; readonly unique: bigint } {
    this.#unique += 1n;
    const unique = this.#unique;
    const bytes = structBytes(
      FUSE_IN_HEADER,
      { len: FUSE_IN_HEADER.size + args.length + data, opcode, unique, nodeid },
      true,
      args.length,
    );
    bytes.set(args, FUSE_IN_HEADER.size);
    return { bytes, unique };
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
