import { assert } from '@remio/base';
import type { World } from './world.js';

/** How long what leaves a board is on its way. */
export interface LinkOptions {
  /** Nanoseconds to the other end and back, for the first bit. */
  readonly latency: number;
  /** Bytes a second, each way. */
  readonly bandwidth: number;
}

/** A gigabit link to a station beside the board, and that station's turn; our estimate. */
export const LINK: LinkOptions = { latency: 40_000, bandwidth: 125_000_000 };

/** What a link needs of the world: its clock, its costs, and its interrupts. */
export type LinkWorld = Pick<World, 'now' | 'spent' | 'interruptAt'>;

/** A link in virtual time whose other end sends everything back. What is sent follows what was sent before, each way. */
export class Link {
  readonly #world: LinkWorld;
  readonly #options: LinkOptions;
  /** When the last bit so far has left, and has come back. */
  #left = 0;
  #back = 0;

  constructor(world: LinkWorld, options: LinkOptions) {
    assert(options.bandwidth > 0, 'a link carries something');
    this.#world = world;
    this.#options = options;
  }

  get now(): number {
    return this.#world.now;
  }

  /** Sends bytes. @returns when they have come back, whole */
  send(bytes: number): number {
    const { latency, bandwidth } = this.#options;
    const takes = Math.round((bytes * 1e9) / bandwidth);
    this.#left = Math.max(this.#world.now, this.#left) + takes;
    this.#back = Math.max(this.#left + latency, this.#back) + takes;
    return this.#back;
  }

  /** The backend's CPU hands bytes to its network, or takes them from there. */
  handled(bytes: number): void {
    this.#world.spent('device-request');
    this.#world.spent('copied-byte', bytes);
  }

  /** Interrupts the CPU that runs now at a time, or now. */
  interruptAt(time: number, work: () => void): void {
    this.#world.interruptAt(time, work);
  }
}

/** What is on its way back, in the order in which it comes. Its user is told once of what comes next, when it asks. */
export class Returning<T> {
  readonly #link: Link;
  readonly #told: () => void;
  readonly #items: { readonly at: number; readonly item: T }[] = [];
  #wanted = false;
  #armed = false;

  /** @param told something may have come, since {@link listen} */
  constructor(link: Link, told: () => void) {
    this.#link = link;
    this.#told = told;
  }

  /** Everything, whether it has come or not. */
  get length(): number {
    return this.#items.length;
  }

  /** What came first; undefined if nothing has come yet. */
  get next(): T | undefined {
    const first = this.#items[0];
    return first !== undefined && first.at <= this.#link.now ? first.item : undefined;
  }

  add(at: number, item: T): void {
    this.#items.push({ at, item });
    if (this.#wanted) this.#arm();
  }

  shift(): void {
    this.#items.shift();
  }

  listen(): void {
    this.#wanted = true;
    this.#arm();
  }

  clear(): void {
    this.#items.length = 0;
    this.#wanted = false;
  }

  #arm(): void {
    const first = this.#items[0];
    if (this.#armed || first === undefined) return;
    this.#armed = true;
    this.#link.interruptAt(first.at, () => {
      this.#armed = false;
      if (!this.#wanted) return;
      this.#wanted = false;
      this.#told();
    });
  }
}
