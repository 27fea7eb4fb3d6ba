import type { Socket } from 'node:net';
import { assert, err, ok, type Result } from '@remio/base';
import { SharedPool, type VirtioBlkDriver } from '@remio/virtio-driver';
import { type ConnectionHost, NbdConnection } from './connection.js';
import { NbdDisk } from './disk.js';
import { FairPool } from './fair-pool.js';
import { CHUNK_SIZE } from './inbox.js';

/** Chunks that the shared memory has at least, and at most. */
const CHUNKS_MIN = 2;
const CHUNKS_MAX = 64;
/** Size constraints: a maximum payload that every client copes with, and one that no server need exceed. */
const PAYLOAD_MIN = 64 * 1024;
const PAYLOAD_MAX = 1 << 25;
/** Requests of the largest payload that the memory has room for at once. */
const PAYLOADS_AT_ONCE = 4;

export interface NbdServerOptions {
  /** Name of the export; clients that name none get it as well. */
  readonly name: string;
  readonly description: string;
  /** Clients at the same time; whoever comes later is turned away. */
  readonly connections: number;
}

/**
 * An NBD server on a virtio disk: as many clients as one likes, one disk. What clients send is read into the memory that
 * the backend sees, what the backend reads is sent from there. Reading stops where memory or the queue is full, so
 * whatever clients do, no more is held than that.
 *
 * Everything happens in turns: requests that arrived since the last one go to the disk together, replies to one client
 * leave together.
 */
export class NbdServer {
  readonly disk: NbdDisk;
  readonly #options: NbdServerOptions;
  readonly #maximumPayload: number;
  readonly #host: ConnectionHost;
  readonly #connections = new Set<NbdConnection>();
  /** Those that have something to do. */
  #awake = new Set<NbdConnection>();

  private constructor(
    driver: VirtioBlkDriver,
    options: NbdServerOptions,
    chunks: FairPool,
    data: FairPool,
    onWork: () => void,
  ) {
    const { memory } = driver.allocator;
    const bytes = memory.bytes(0, memory.size);
    this.disk = new NbdDisk(driver);
    this.#options = options;
    const most = Math.min(PAYLOAD_MAX, data.pool.size / PAYLOADS_AT_ONCE);
    this.#maximumPayload = 2 ** Math.floor(Math.log2(most));
    this.#host = {
      disk: this.disk,
      view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
      share: (freed) => ({ chunks: chunks.share(freed), data: data.share(freed) }),
      wake: (connection) => {
        this.#awake.add(connection);
        onWork();
      },
      closed: (connection) => {
        this.#connections.delete(connection);
        this.#awake.delete(connection);
      },
    };
  }

  /**
   * Makes a server of a disk and all memory that is left beside its queues.
   * @param onWork called when there is something to do in a {@link turn}
   * @returns why there is not enough memory
   */
  static create(driver: VirtioBlkDriver, options: NbdServerOptions, onWork: () => void): Result<NbdServer, string> {
    const { allocator } = driver;
    // A quarter is for what arrives; it never holds up more than that.
    const count = Math.min(CHUNKS_MAX, 2 * options.connections, Math.floor(allocator.left / 4 / CHUNK_SIZE));
    const most = allocator.left - Math.max(CHUNKS_MIN, count) * CHUNK_SIZE - PAGE;
    if (count < CHUNKS_MIN || most < PAYLOADS_AT_ONCE * PAYLOAD_MIN) {
      return err(`${allocator.left} bytes of shared memory are left beside the queues: make it 4 MiB at least`);
    }
    const chunks = poolOf(driver, count * CHUNK_SIZE);
    const data = poolOf(driver, most);
    return ok(new NbdServer(driver, options, chunks, data, onWork));
  }

  /** Connected clients. */
  get connections(): number {
    return this.#connections.size;
  }

  /** Takes a client. */
  accept(socket: Socket): void {
    if (this.#connections.size >= this.#options.connections) {
      socket.destroy();
      return;
    }
    const { name, description } = this.#options;
    const exported = this.disk.exported(name, description, this.#maximumPayload);
    this.#connections.add(new NbdConnection(this.#host, exported, socket));
  }

  /** Lets every connection go on that can; returns whether there was one. */
  turn(): boolean {
    const awake = this.#awake;
    if (awake.size === 0) return false;
    this.#awake = new Set();
    for (const connection of awake) connection.turn();
    return true;
  }

  /** Whether a {@link turn} would find something to do. */
  get awake(): boolean {
    return this.#awake.size > 0;
  }

  /** Ends every connection. */
  close(): void {
    for (const connection of this.#connections) connection.drop();
  }
}

const PAGE = 4096;

function poolOf({ allocator }: VirtioBlkDriver, bytes: number): FairPool {
  const address = allocator.allocate(bytes, PAGE);
  assert(address !== undefined, 'what is left was counted');
  return new FairPool(new SharedPool(allocator.memory, allocator.memory.locate(address, bytes), bytes));
}
