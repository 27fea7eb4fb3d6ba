import { assert, type SavedValue } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import type { Popped, QueueError, Segment, Used } from './types.js';

/** What the device took out of the ring: a chain, or one that cannot be served. */
export type TakenKind = Extract<Popped, { readonly kind: 'chain' | 'rejected' }>;

/** A chain that the device has taken, until the driver can see that it was used. */
export interface TakenChain {
  readonly head: number;
  readonly taken: TakenKind;
  /** Descriptors of the ring that it takes. */
  readonly descriptors: number;
}

interface Entry extends TakenChain {
  /** Bytes written, of a chain that waits for earlier ones to be used (IN_ORDER). */
  written: number | undefined;
}

/** A used element or used descriptor to be written, which stands for one chain or, with IN_ORDER, for several. */
export interface UsedBatch {
  /** The last of its chains. */
  readonly head: number;
  readonly written: number;
  readonly chains: number;
  readonly descriptors: number;
}

/** A chain as plain data. */
export interface SavedChain {
  readonly head: number;
  readonly descriptors: number;
  /** Offset and length of each buffer. */
  readonly readable: readonly (readonly [number, number])[];
  readonly writable: readonly (readonly [number, number])[];
  /** Why it cannot be served, if it cannot. */
  readonly rejected: QueueError | null;
  /** Bytes written, of a chain that has ended and waits for earlier ones. */
  readonly written: number | null;
}

/** A text of its own for each head would be made for every chain. */
const NOT_IN_FLIGHT = 'a chain is pushed once after it was popped';

/** Whether all of a chain's room was written. What room the driver gave to a rejected chain is not known. */
const isFull = ({ taken, written }: Entry): boolean => taken.kind === 'chain' && written === taken.chain.writableLength;

/**
 * The chains that a device has taken, oldest first, and what goes into the ring when some of them have ended. With
 * IN_ORDER (2.7.9, 2.8.8) a chain that ends before an earlier one waits for it, and then one element stands for both.
 */
export class TakenChains {
  readonly #inOrder: boolean;
  /** By head, oldest first. */
  readonly #entries = new Map<number, Entry>();
  #unfinished = 0;

  constructor(inOrder: boolean) {
    this.#inOrder = inOrder;
  }

  /** Chains that the device has not finished. */
  get inFlight(): number {
    return this.#unfinished;
  }

  /** Chains that the driver does not see as used yet. */
  get count(): number {
    return this.#entries.size;
  }

  has(head: number): boolean {
    return this.#entries.has(head);
  }

  take(head: number, taken: TakenKind, descriptors: number): void {
    this.#entries.set(head, { head, taken, descriptors, written: undefined });
    this.#unfinished += 1;
  }

  /** A chain that the device has not finished. */
  unfinished(head: number): TakenChain {
    const entry = this.#entries.get(head);
    assert(entry !== undefined && entry.written === undefined, NOT_IN_FLIGHT);
    return entry;
  }

  /** Heads that the device has not finished, oldest first. */
  heads(): readonly number[] {
    return [...this.#entries.values()].filter(({ written }) => written === undefined).map(({ head }) => head);
  }

  /**
   * What is to be written into the ring when these chains have ended; {@link end} or {@link undo} follows at once.
   * @param used chains that the device has not finished
   */
  plan(used: readonly Used[]): readonly UsedBatch[] {
    if (!this.#inOrder) {
      return used.map(({ head, written }) => {
        const { descriptors } = this.unfinished(head);
        return { head, written, chains: 1, descriptors };
      });
    }
    for (const { head, written } of used) {
      this.unfinished(head);
      const entry = this.#entries.get(head);
      if (entry !== undefined) entry.written = written;
    }
    const batches: UsedBatch[] = [];
    let chains = 0;
    let descriptors = 0;
    let last: Entry | undefined;
    const close = (): void => {
      if (last?.written === undefined) return;
      batches.push({ head: last.head, written: last.written, chains, descriptors });
      chains = 0;
      descriptors = 0;
    };
    for (const entry of this.#entries.values()) {
      if (entry.written === undefined) break;
      // Of a chain that is skipped the driver believes that all of it was written (2.7.9): else the batch ends with it.
      if (last !== undefined && !isFull(last)) close();
      chains += 1;
      descriptors += entry.descriptors;
      last = entry;
    }
    close();
    return batches;
  }

  /** Heads of the chains that the driver will see as used with the batches of the last {@link plan}. */
  *leaving(used: readonly Used[], batches: readonly UsedBatch[]): Iterable<number> {
    if (!this.#inOrder) {
      for (const { head } of used) yield head;
      return;
    }
    let left = batches.reduce((sum, { chains }) => sum + chains, 0);
    for (const head of this.#entries.keys()) {
      if (left === 0) return;
      left -= 1;
      yield head;
    }
  }

  /** The batches of the last {@link plan} cannot be written now. */
  undo(used: readonly Used[]): void {
    if (!this.#inOrder) return;
    for (const { head } of used) {
      const entry = this.#entries.get(head);
      if (entry !== undefined) entry.written = undefined;
    }
  }

  /** The batches of the last {@link plan} were written. */
  end(used: readonly Used[], batches: readonly UsedBatch[]): void {
    this.#unfinished -= used.length;
    if (!this.#inOrder) {
      for (const { head } of used) assert(this.#entries.delete(head), NOT_IN_FLIGHT);
      return;
    }
    for (const head of this.leaving(used, batches)) this.#entries.delete(head);
  }

  /** The chains as plain data, oldest first. */
  save(): readonly SavedChain[] {
    const pairs = (segments: readonly Segment[]): readonly (readonly [number, number])[] =>
      segments.map(({ offset, length }) => [offset, length]);
    return [...this.#entries.values()].map(({ head, taken, descriptors, written }) => ({
      head,
      descriptors,
      readable: taken.kind === 'chain' ? pairs(taken.chain.readable) : [],
      writable: taken.kind === 'chain' ? pairs(taken.chain.writable) : [],
      rejected: taken.kind === 'rejected' ? taken.error : null,
      written: written ?? null,
    }));
  }

  /**
   * Takes over saved chains, into no others.
   * @param size descriptors of the ring
   * @param headMax largest number that a chain can be known by
   * @returns descriptors that the chains take together
   */
  restore(saved: SavedValue, memory: GuestMemory, size: number, headMax: number): number {
    let descriptors = 0;
    for (const [n, value] of saved.list().entries()) {
      const entry = readEntry(value, memory, size, headMax);
      if (this.#entries.has(entry.head)) value.field('head').refuse('each head once');
      const waits = this.#inOrder && n > 0;
      if (entry.written !== undefined && !waits) value.field('written').refuse('null: no earlier chain is in flight');
      this.#entries.set(entry.head, entry);
      if (entry.written === undefined) this.#unfinished += 1;
      descriptors += entry.descriptors;
    }
    return descriptors;
  }
}

function readEntry(saved: SavedValue, memory: GuestMemory, size: number, headMax: number): Entry {
  const head = saved.field('head').integer(0, headMax);
  const rejected = saved.field('rejected');
  const readable = readSegments(saved.field('readable'), memory);
  const writable = readSegments(saved.field('writable'), memory);
  const readableLength = lengthOf(readable);
  const writableLength = lengthOf(writable);
  const taken: TakenKind = rejected.isNull
    ? { kind: 'chain', chain: { head, readable, writable, readableLength, writableLength } }
    : { kind: 'rejected', head, error: readError(rejected) };
  const written = saved.field('written');
  return {
    head,
    taken,
    descriptors: saved.field('descriptors').integer(1, size),
    written: written.isNull ? undefined : written.integer(0, writableLength),
  };
}

const readSegments = (saved: SavedValue, memory: GuestMemory): readonly Segment[] =>
  saved.list().map((pair) => {
    const [from, bytes] = pair.list(2);
    const offset = from?.integer(0, memory.size) ?? 0;
    return { offset, length: bytes?.integer(0, memory.size - offset) ?? 0 };
  });

const lengthOf = (segments: readonly Segment[]): number => segments.reduce((sum, { length }) => sum + length, 0);

/** Reads why a ring or a chain is of no use. */
export const readError = (saved: SavedValue): QueueError => ({
  code: saved.field('code').text(),
  clause: saved.field('clause').text(),
  detail: saved.field('detail').text(),
});
