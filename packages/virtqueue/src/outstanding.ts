import { assert, err, ok, type Result } from '@remio/base';

/** A request that the driver has put into the ring. */
export interface OutstandingRequest<Token> {
  readonly token: Token;
  /** Bytes that the device may write. */
  readonly room: number;
  /** Descriptors of the ring that it takes. */
  readonly descriptors: number;
  /** Indirect table that it takes. */
  readonly table: number | undefined;
}

/** A request that the device has ended. */
export interface EndedRequest<Token> {
  readonly id: number;
  readonly token: Token;
  readonly written: number;
}

/** A request as it is kept, and given back when it has ended: all have one shape, and none is copied. */
interface Entry<Token> extends OutstandingRequest<Token> {
  readonly id: number;
  written: number;
  published: boolean;
}

/** What the device did wrong with a used element. */
export interface Misuse {
  readonly code: 'used-id' | 'used-twice' | 'used-order';
  readonly detail: string;
}

const misuse = (code: Misuse['code'], detail: string): Result<never, Misuse> => err({ code, detail });

/**
 * A driver's requests by the id that the device returns, oldest first. The device is not trusted: which descriptors a
 * request has, whose it is and how much may be written is kept here and never read back from shared memory.
 */
export class Outstanding<Token> {
  readonly #entries = new Map<number, Entry<Token>>();
  readonly #unpublished: Entry<Token>[] = [];
  #clamped = 0;

  /** Requests that the device has not ended, published or not. */
  get count(): number {
    return this.#entries.size;
  }

  /** Requests that the device knows of. */
  get published(): number {
    return this.#entries.size - this.#unpublished.length;
  }

  /** How often the device claimed to have written more than it was given room for. */
  get clamped(): number {
    return this.#clamped;
  }

  add(id: number, { token, room, descriptors, table }: OutstandingRequest<Token>): void {
    // The text is made only then: this is done for every request.
    if (this.#entries.has(id)) assert(false, `id ${id} is free`);
    const entry: Entry<Token> = { id, token, room, descriptors, table, written: 0, published: false };
    this.#entries.set(id, entry);
    this.#unpublished.push(entry);
  }

  /** The device knows of everything that was added. */
  publish(): void {
    for (const entry of this.#unpublished) entry.published = true;
    this.#unpublished.length = 0;
  }

  /**
   * Takes out what the device has ended with one used element.
   * @param id what the element names
   * @param claimed bytes written, as it says
   * @param ids ids below this exist
   * @param inOrder most requests that the element may stand for (IN_ORDER); undefined: it stands for the one it names
   * @returns the requests, oldest first, whose descriptors and tables are free now; or what the device did wrong
   */
  end(
    id: number,
    claimed: number,
    ids: number,
    inOrder: number | undefined,
  ): Result<readonly (OutstandingRequest<Token> & EndedRequest<Token>)[], Misuse> {
    if (id >= ids) return misuse('used-id', `used id ${id} in a ring of ${ids}`);
    const named = this.#entries.get(id);
    if (named?.published !== true) return misuse('used-twice', `used id ${id} is not in flight`);
    const ended: Entry<Token>[] = [];
    if (inOrder === undefined) ended.push(named);
    else {
      for (const older of this.#entries.values()) {
        ended.push(older);
        if (older === named) break;
      }
      if (ended.length > inOrder) {
        return misuse('used-order', `used id ${id} before ${ended.length - inOrder} that were made available earlier`);
      }
    }
    if (claimed > named.room) this.#clamped += 1;
    for (const entry of ended) {
      this.#entries.delete(entry.id);
      // 2.7.9, 2.8.8: what was skipped counts as written completely.
      entry.written = entry === named ? Math.min(claimed, entry.room) : entry.room;
    }
    return ok(ended);
  }

  /** Forgets every request; returns their tokens, oldest first. */
  clear(): readonly Token[] {
    const tokens = [...this.#entries.values()].map(({ token }) => token);
    this.#entries.clear();
    this.#unpublished.length = 0;
    return tokens;
  }
}
