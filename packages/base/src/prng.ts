/**
 * A seeded generator of random numbers (sfc32): the same seed gives the same numbers on every machine.
 * For workloads, schedules and tests; not for secrets.
 */
export class Prng {
  #a: number;
  #b: number;
  #c: number;
  #d = 1;

  /** @param seed any safe integer */
  constructor(seed: number) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 0x1_0000_0000) >>> 0;
    this.#c = 0x9e37_79b9;
    for (let i = 0; i < 12; i += 1) this.u32();
  }

  /** The next 32 random bits, 0 to 2^32-1. */
  u32(): number {
    const t = (this.#a + this.#b + this.#d) >>> 0;
    this.#d = (this.#d + 1) >>> 0;
    this.#a = (this.#b ^ (this.#b >>> 9)) >>> 0;
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) >>> 0;
    this.#c = (this.#c + t) >>> 0;
    return t;
  }

  /** A random integer from 0 to `bound`-1; `bound` from 1 to 2^32. */
  below(bound: number): number {
    // The 2^32 values fall evenly into `bound` boxes but for a rest, which is drawn again.
    const limit = 0x1_0000_0000 - (0x1_0000_0000 % bound);
    for (;;) {
      const value = this.u32();
      if (value < limit) return value % bound;
    }
  }

  /** Fills `bytes` with random bytes. */
  fill(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i += 4) {
      const word = this.u32();
      for (let j = 0; j < 4 && i + j < bytes.length; j += 1) bytes[i + j] = (word >>> (8 * j)) & 0xff;
    }
  }
}
