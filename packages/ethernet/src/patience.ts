/** Looks in vain that are always made, and that are made at most. */
const LOOKS_MIN = 48;
const LOOKS_MAX = 2048;
/** Looks in vain for each frame that was found since the last rest. */
const LOOKS_PER_FRAME = 8;

/**
 * How long whoever serves frames goes on looking for the next one before it asks to be told. To be told is dear: a
 * notification is a trapped access, an interrupt two more. So one who found many frames looks long, since a gap in a
 * stream is short; one who was woken for a single frame soon rests. Counted in looks, not in time: it needs no clock.
 */
export class Patience {
  #found = 0;
  #vain = 0;

  /** Frames were found. */
  found(frames: number): void {
    this.#found += frames;
    this.#vain = 0;
  }

  /** Nothing was found. @returns whether to look again; false: it is time to rest */
  again(): boolean {
    this.#vain += 1;
    if (this.#vain < Math.min(LOOKS_MAX, Math.max(LOOKS_MIN, LOOKS_PER_FRAME * this.#found))) return true;
    this.#found = 0;
    this.#vain = 0;
    return false;
  }
}
