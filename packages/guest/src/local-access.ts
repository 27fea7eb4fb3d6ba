import type { AccessWidth } from '@remio/base';
import type { GuestMemory } from '@remio/guest-memory';

/** A load from a VM's own memory, zero-extended. */
export function readMemory(memory: GuestMemory, offset: number, width: AccessWidth): bigint {
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

/** A store to a VM's own memory: the low `width` bytes of `value`. */
export function writeMemory(memory: GuestMemory, offset: number, width: AccessWidth, value: bigint): void {
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
