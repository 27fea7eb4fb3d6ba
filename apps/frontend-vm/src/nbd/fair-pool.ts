import type { PoolPiece, SharedPool } from '@remio/virtio-driver';

/** What one user of a pool has of it. */
export interface Share {
  /** A piece of at least this many bytes; undefined: not now, and `freed` is called when it is worth trying again. */
  allocate(bytes: number): PoolPiece | undefined;
  release(piece: PoolPiece): void;
  /** Its user is gone: it waits for nothing any more. Pieces that it still has are released as ever. */
  close(): void;
}

interface User {
  held: number;
  readonly freed: () => void;
}

/**
 * A pool for several users. Nobody holds more than it leaves free, but for one piece: a user that keeps what it has leaves
 * half of the pool, a second one a quarter, and so on, and never nothing. Who waits for a piece is served before who comes
 * later, so that a large piece is not waited for in vain while small ones come and go.
 */
export class FairPool {
  readonly pool: SharedPool;
  /** Those that wait for the pool, not for what they hold themselves; in order. */
  readonly #waiting = new Set<User>();
  /** Those that wait for anything. */
  readonly #hungry = new Set<User>();

  constructor(pool: SharedPool) {
    this.pool = pool;
  }

  /** @param freed called when it is worth trying again what was refused */
  share(freed: () => void): Share {
    const user: User = { held: 0, freed };
    return {
      allocate: (bytes) => this.#allocate(user, bytes),
      release: (piece) => {
        this.pool.release(piece);
        user.held -= piece.length;
        this.#feed();
      },
      close: () => {
        this.#waiting.delete(user);
        this.#hungry.delete(user);
        this.#feed();
      },
    };
  }

  #allocate(user: User, bytes: number): PoolPiece | undefined {
    if (user.held === 0 || user.held + bytes <= this.pool.free - bytes) {
      const [first = user] = this.#waiting;
      const piece = first === user ? this.pool.allocate(bytes) : undefined;
      if (piece !== undefined) {
        user.held += piece.length;
        this.#waiting.delete(user);
        return piece;
      }
      this.#waiting.add(user);
    }
    this.#hungry.add(user);
    return undefined;
  }

  /** Lets everybody try again who waits; the first in line is the first to try. */
  #feed(): void {
    if (this.#hungry.size === 0) return;
    const hungry = new Set([...this.#waiting, ...this.#hungry]);
    this.#hungry.clear();
    for (const user of hungry) user.freed();
  }
}
