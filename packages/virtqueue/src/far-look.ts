import type { GuestMemory } from '@remio/guest-memory';

/**
 * How a device looks at the next place of a ring in far memory, where a look is an exchange, and so is to tell the driver
 * whether notifications are wanted: it is told with the look. For either layout.
 */
export class FarLook {
  readonly #memory: GuestMemory;
  /** Where the driver is told, and with how many bytes. */
  readonly #at: number;
  readonly #bytes: 2 | 4;
  /** What it was last told; undefined: not known. */
  #said: number | undefined = 0;
  /** It has notified since the ring was looked at for what it says. */
  #notified = false;

  constructor(memory: GuestMemory, at: number, bytes: 2 | 4) {
    this.#memory = memory;
    this.#at = at;
    this.#bytes = bytes;
  }

  /** The driver has notified: that the ring was empty says nothing any more, for the driver will not notify again. */
  notified(): void {
    this.#notified = true;
  }

  /** What the driver was told is not known any more. */
  forget(): void {
    this.#said = undefined;
  }

  tell(word: number): void {
    if (this.#said === word) return;
    this.#said = word;
    if (this.#bytes === 2) this.#memory.storeU16(this.#at, word);
    else this.#memory.storeU32(this.#at, word);
    this.#memory.written(this.#at, this.#bytes);
  }

  /**
   * Looks at the ring; false if it is not local yet. Where the driver was not told what it should be, it is told with the
   * look, or, where the ring was seen empty before it was told, looked at once more (2.7.10).
   * @param offset of what tells whether something is available
   * @param length bytes of that
   * @param available whether something is; asked when it is local
   * @param word what the driver should be told, where notifications are wanted; undefined: they are not
   */
  look(offset: number, length: number, available: () => boolean, word: number | undefined): boolean {
    const memory = this.#memory;
    const local = memory.need(offset, length, 'read');
    if (local && available()) return true;
    if (word === undefined) return local;
    if (this.#said === word && !(local && this.#notified)) return local;
    this.#notified = false;
    this.tell(word);
    memory.afresh(offset, length);
    return memory.need(offset, length, 'read');
  }
}
