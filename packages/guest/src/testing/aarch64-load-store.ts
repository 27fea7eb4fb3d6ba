import {
  DFSC_TRANSLATION_L3,
  EC_DATA_ABORT_LOWER,
  EC_DATA_ABORT_SAME,
  ESR_EC_SHIFT,
  ESR_IL,
  encodeDataAbort,
  IPA_LIMIT,
  ISS_WNR,
} from '@remio/arch';
import { type AccessWidth, guestAddress, signExtend, toU64 } from '@remio/base';
import { bits, extend, signedBits } from './aarch64-data.js';
import type { Bus } from './bus.js';
import { NEXT, type Step } from './core.js';

const WIDTHS: readonly AccessWidth[] = [1, 2, 4, 8];

/** Data fault status of an address that is none: address size fault, level 0. */
const DFSC_ADDRESS_SIZE_L0 = 0n;

/** A load or store of one register. */
interface Single {
  readonly width: AccessWidth;
  readonly write: boolean;
  readonly register: number;
  readonly signExtend: boolean;
  readonly registerWidth: 4 | 8;
}

/** What the loads and stores need of their core. */
export interface AccessHost {
  readonly pc: bigint;
  read(register: number): bigint;
  write(register: number, value: bigint): void;
  readSp(register: number): bigint;
  writeSp(register: number, value: bigint): void;
  exception(cause: bigint, address: bigint): void;
  unknown(): Step;
  done(): Step;
}

/** A64 loads and stores of general registers (Arm ARM, C4.1.94), but for exclusive and atomic ones. */
export class Aarch64Accesses {
  readonly #core: AccessHost;
  readonly #bus: Bus;

  constructor(core: AccessHost, bus: Bus) {
    this.#core = core;
    this.#bus = bus;
  }

  step(word: number): Step {
    // Bit 26: a SIMD and floating-point register.
    if (bits(word, 26, 26) === 1) return this.#core.unknown();
    switch (bits(word, 29, 27)) {
      case 0b011:
        return bits(word, 24, 24) === 0 ? this.#literal(word) : this.#core.unknown();
      case 0b101:
        return this.#pair(word);
      case 0b111:
        return bits(word, 24, 24) === 1 ? this.#unsignedOffset(word) : this.#otherOffset(word);
      default:
        return this.#core.unknown();
    }
  }

  #unsignedOffset(word: number): Step {
    const base = this.#core.readSp(bits(word, 9, 5));
    return this.#single(word, base + (BigInt(bits(word, 21, 10)) << BigInt(word >>> 30)));
  }

  /** Signed offset, pre- and post-indexed, and register offset. */
  #otherOffset(word: number): Step {
    const rn = bits(word, 9, 5);
    const base = this.#core.readSp(rn);
    const form = bits(word, 11, 10);
    if (bits(word, 21, 21) === 1) {
      const option = bits(word, 15, 13);
      if (form !== 2 || (option & 2) === 0) return this.#core.unknown();
      const by = bits(word, 12, 12) === 1 ? word >>> 30 : 0;
      return this.#single(word, base + extend(this.#core.read(bits(word, 20, 16)), option, by));
    }
    const moved = base + signedBits(word, 20, 12);
    if (form === 0) return this.#single(word, moved);
    if (form === 2) return this.#core.unknown();
    return this.#single(word, form === 3 ? moved : base, { register: rn, value: moved });
  }

  /** @param writeback what the base register becomes; the syndrome then does not describe the access */
  #single(word: number, address: bigint, writeback?: { readonly register: number; readonly value: bigint }): Step {
    const access = single(word);
    if (access === 'prefetch') return this.#core.done();
    if (access === undefined) return this.#core.unknown();
    const at = toU64(address);
    if (!this.#access(at, access)) return this.#trap(at, access.write, writeback === undefined ? access : undefined);
    if (writeback !== undefined) this.#core.writeSp(writeback.register, writeback.value);
    return this.#core.done();
  }

  #literal(word: number): Step {
    const form = word >>> 30;
    if (form === 3) return this.#core.done();
    const address = toU64(this.#core.pc + 4n * signedBits(word, 23, 5));
    const access: Single = {
      width: form === 1 ? 8 : 4,
      write: false,
      register: bits(word, 4, 0),
      signExtend: form === 2,
      registerWidth: form === 0 ? 4 : 8,
    };
    return this.#access(address, access) ? this.#core.done() : this.#trap(address, false, access);
  }

  /** LDP, STP, LDPSW. */
  #pair(word: number): Step {
    const form = word >>> 30;
    const write = bits(word, 22, 22) === 0;
    if (form === 3 || (form === 1 && write)) return this.#core.unknown();
    const width = form === 2 ? 8 : 4;
    const rn = bits(word, 9, 5);
    const base = this.#core.readSp(rn);
    const moved = toU64(base + signedBits(word, 21, 15) * BigInt(width));
    const mode = bits(word, 24, 23);
    const address = mode === 1 ? base : moved;
    const both = [bits(word, 4, 0), bits(word, 14, 10)].map((register, n) => ({
      at: toU64(address + BigInt(n * width)),
      access: { width, write, register, signExtend: form === 1, registerWidth: form === 0 ? 4 : 8 } satisfies Single,
    }));
    for (const { at, access } of both) if (!this.#access(at, access)) return this.#trap(at, write, undefined);
    if (mode === 1 || mode === 3) this.#core.writeSp(rn, moved);
    return this.#core.done();
  }

  /** False: it traps. */
  #access(address: bigint, access: Single): boolean {
    if (access.write) return this.#bus.store(address, access.width, this.#core.read(access.register));
    const value = this.#bus.load(address, access.width);
    if (value === undefined) return false;
    this.#core.write(
      access.register,
      access.signExtend ? signExtend(value, access.width, access.registerWidth) : value,
    );
    return true;
  }

  /** @param access what the syndrome tells of the access; undefined: nothing (ISV 0) */
  #trap(address: bigint, write: boolean, access: Single | undefined): Step {
    if (address >= IPA_LIMIT) {
      // No guest-physical address: it never reaches the second stage.
      const status = (write ? ISS_WNR : 0n) | DFSC_ADDRESS_SIZE_L0;
      this.#core.exception((EC_DATA_ABORT_SAME << ESR_EC_SHIFT) | ESR_IL | status, address);
      return NEXT;
    }
    const value = access?.write === true ? this.#core.read(access.register) : 0n;
    const described = access && encodeDataAbort({ ...access, address: guestAddress(address), value }, this.#core.pc);
    return {
      kind: 'mmio',
      trap: described ?? {
        arch: 'aarch64',
        esr: (EC_DATA_ABORT_LOWER << ESR_EC_SHIFT) | ESR_IL | (write ? ISS_WNR : 0n) | DFSC_TRANSLATION_L3,
        far: address,
        hpfar: (address >> 12n) << 4n,
        pc: this.#core.pc,
        source: 0n,
      },
    };
  }
}

/** What size and opc say; undefined for what is no load or store. */
function single(word: number): Single | 'prefetch' | undefined {
  const size = word >>> 30;
  const opc = bits(word, 23, 22);
  const width = WIDTHS[size] ?? 1;
  const register = bits(word, 4, 0);
  const whole = size === 3 ? 8 : 4;
  switch (opc) {
    case 0:
    case 1:
      return { width, write: opc === 0, register, signExtend: false, registerWidth: whole };
    case 2:
      return size === 3 ? 'prefetch' : { width, write: false, register, signExtend: true, registerWidth: 8 };
    default:
      return size > 1 ? undefined : { width, write: false, register, signExtend: true, registerWidth: 4 };
  }
}
