import { assert } from '@remio/base';
import { InFlightTable, inFlightTableBytes } from './in-flight-table.js';

/** Words before the records. */
const CURRENT = 0;
const INTERRUPTS = 1;
const HEADER_BYTES = 16;
/** Bytes of one record of a device's registers: at most those of the device, and of each of its queues. */
const RECORD_BYTES = 2048;
const RECORD_QUEUE_BYTES = 256;
const PAGE = 4096;

const recordBytes = (queues: number): number => RECORD_BYTES + RECORD_QUEUE_BYTES * queues;

/**
 * Bytes of memory in which a device keeps its state for the process that takes its place, in whole pages.
 * @param queueSize largest number of descriptors of a queue
 */
export const keptStateBytes = (queues: number, queueSize: number): number =>
  Math.ceil((HEADER_BYTES + 2 * recordBytes(queues) + queues * inFlightTableBytes(queueSize)) / PAGE) * PAGE;

/**
 * The state of a device in memory that outlives its process: a record of its registers, its interrupt status, and what its
 * queues have in flight. A process may end between any two stores. The record is there twice, and a single store says which
 * one counts; what changes with every request has words of its own.
 */
export class KeptState {
  /** By queue. */
  readonly tables: readonly InFlightTable[];
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #queues: number;

  /** @param memory of {@link keptStateBytes} at least; zeros: nothing is kept yet */
  constructor(memory: ArrayBuffer | SharedArrayBuffer, queues: number, queueSize: number) {
    assert(memory.byteLength >= keptStateBytes(queues, queueSize), 'the memory has room for the state of the device');
    this.#queues = queues;
    this.#words = new Int32Array(memory, 0, HEADER_BYTES / 4);
    this.#bytes = new Uint8Array(memory);
    const tables = HEADER_BYTES + 2 * recordBytes(queues);
    const bytes = inFlightTableBytes(queueSize);
    this.tables = Array.from(
      { length: queues },
      (_, n) => new InFlightTable(new Int32Array(memory, tables + n * bytes, bytes / 4)),
    );
  }

  /** What {@link write} was given last, by whichever process; undefined: nothing, or nothing that can be read. */
  read(): unknown {
    const current = Atomics.load(this.#words, CURRENT);
    if (current === 0) return undefined;
    const at = this.#at(current);
    const length = new DataView(this.#bytes.buffer, at, 4).getUint32(0, true);
    if (length > recordBytes(this.#queues) - 4) return undefined;
    try {
      // A copy: text is not decoded from memory that is shared.
      return JSON.parse(new TextDecoder().decode(this.#bytes.slice(at + 4, at + 4 + length)));
    } catch {
      return undefined;
    }
  }

  /** Keeps plain data in the place of what was kept. */
  write(record: object): void {
    const text = new TextEncoder().encode(JSON.stringify(record));
    assert(text.length <= recordBytes(this.#queues) - 4, 'a record has room for the registers of its device');
    const current = Atomics.load(this.#words, CURRENT);
    const next = current === 0x7fff_ffff ? 2 : current + 1;
    const at = this.#at(next);
    new DataView(this.#bytes.buffer, at, 4).setUint32(0, text.length, true);
    this.#bytes.set(text, at + 4);
    Atomics.store(this.#words, CURRENT, next);
  }

  get interrupts(): number {
    return Atomics.load(this.#words, INTERRUPTS);
  }

  set interrupts(status: number) {
    Atomics.store(this.#words, INTERRUPTS, status);
  }

  #at(record: number): number {
    return HEADER_BYTES + (record & 1) * recordBytes(this.#queues);
  }
}
