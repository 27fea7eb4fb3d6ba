import type { AccessWidth } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';
import type { InterruptPort } from './interrupt-port.js';

/** What a vCPU reaches without a trap: its VM's memories, and its interrupt controller's CPU interface where that is memory-mapped. */
export class Bus {
  readonly #memories: readonly GuestMemory[];
  readonly #port: InterruptPort;

  constructor(memories: readonly GuestMemory[], port: InterruptPort) {
    this.#memories = memories;
    this.#port = port;
  }

  /** A load; undefined: nothing here answers it, it traps. */
  load(address: bigint, width: AccessWidth): bigint | undefined {
    for (const memory of this.#memories) {
      const offset = memory.locate(address, width);
      if (offset >= 0) return readMemory(memory, offset, width);
    }
    return this.#port.load(address);
  }

  /** A store of the low `width` bytes; false: nothing here takes it, it traps. */
  store(address: bigint, width: AccessWidth, value: bigint): boolean {
    for (const memory of this.#memories) {
      const offset = memory.locate(address, width);
      if (offset < 0) continue;
      writeMemory(memory, offset, width, value);
      return true;
    }
    return this.#port.store(address, value);
  }

  /** Code; undefined where no memory is. */
  fetch(address: bigint, width: 2 | 4): number | undefined {
    for (const memory of this.#memories) {
      const offset = memory.locate(address, width);
      if (offset >= 0) return width === 2 ? memory.readU16(offset) : memory.readU32(offset);
    }
    return undefined;
  }
}

function readMemory(memory: GuestMemory, offset: number, width: AccessWidth): bigint {
  switch (width) {
    case 1:
      return BigInt(memory.readU8(offset));
    case 2:
      return BigInt(memory.readU16(offset));
    case 4:
      return BigInt(memory.readU32(offset));
    case 8:
      return memory.readU64(offset);
  }
}

function writeMemory(memory: GuestMemory, offset: number, width: AccessWidth, value: bigint): void {
  switch (width) {
    case 1:
      return memory.writeU8(offset, Number(value & 0xffn));
    case 2:
      return memory.writeU16(offset, Number(value & 0xffffn));
    case 4:
      return memory.writeU32(offset, Number(value & 0xffff_ffffn));
    case 8:
      return memory.writeU64(offset, value);
  }
}
