import type { GuestMemory } from '@remio/guest-memory';
import type { Chain, Popped, QueueError, Segment } from './types.js';

/** 2^32: the largest total length of a chain (2.7.5.2; in a packed ring, a used length has 32 bits as well). */
const CHAIN_LENGTH_MAX = 0x1_0000_0000;

/** Sections that a chain which cannot be served violates. */
export interface ChainClauses {
  readonly address: string;
  readonly order: string;
  readonly length: string;
}

/** Collects the buffers of one chain, each descriptor read once, and finds what is wrong with them. */
export class ChainBuilder {
  readonly #memory: GuestMemory;
  readonly #clauses: ChainClauses;
  readonly #readable: Segment[] = [];
  readonly #writable: Segment[] = [];
  #readableLength = 0;
  #writableLength = 0;
  #total = 0;
  #rejected: QueueError | undefined;

  constructor(memory: GuestMemory, clauses: ChainClauses) {
    this.#memory = memory;
    this.#clauses = clauses;
  }

  /** The next buffer of the chain, as its descriptor says. */
  add(address: bigint, length: number, write: boolean): void {
    const offset = this.#memory.locate(address, length);
    if (offset < 0) {
      this.#reject('buffer-address', this.#clauses.address, `buffer 0x${address.toString(16)}+${length}`);
    } else if (write) {
      this.#writable.push({ offset, length });
      this.#writableLength += length;
    } else {
      if (this.#writable.length > 0) {
        this.#reject('buffer-order', this.#clauses.order, 'a readable buffer follows a writable one');
      }
      this.#readable.push({ offset, length });
      this.#readableLength += length;
    }
    this.#total += length;
    if (this.#total > CHAIN_LENGTH_MAX) {
      this.#rejected = undefined;
      this.#reject('chain-bytes', this.#clauses.length, 'the buffers exceed 2^32 bytes');
    }
  }

  /** @param head what the driver knows the chain by */
  finish(head: number): Extract<Popped, { readonly kind: 'chain' | 'rejected' }> {
    if (this.#rejected !== undefined) return { kind: 'rejected', head, error: this.#rejected };
    const chain: Chain = {
      head,
      readable: this.#readable,
      writable: this.#writable,
      readableLength: this.#readableLength,
      writableLength: this.#writableLength,
    };
    return { kind: 'chain', chain };
  }

  #reject(code: string, clause: string, detail: string): void {
    this.#rejected ??= { code, clause, detail };
  }
}
