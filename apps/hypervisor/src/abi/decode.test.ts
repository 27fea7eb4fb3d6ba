import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type BaoCall,
  dataAbortIss,
  EC_DATA_ABORT_LOWER,
  ESR_EC_SHIFT,
  ESR_IL,
  hypercallFrame,
  hypercallRegisters,
  type MmioAccess,
  type Riscv64Trap,
  SMCCC_VND_HYP_SRVC32,
} from '@remio/arch';
import { guestAddress } from '@remio/base';
import { describe, expect, it } from 'vitest';
import { decodeHypercall, decodeTrap, encodeBaoResult } from './index.js';

interface Expected {
  readonly width: MmioAccess['width'];
  readonly write: boolean;
  readonly signExtend: boolean;
  readonly register: number;
}
interface Row {
  readonly text: string;
  readonly encoding: number;
  readonly size: 2 | 4;
}
/** Written by tools/abi-tables/generate.mjs from what binutils assembles and disassembles. */
const table = JSON.parse(readFileSync(join(import.meta.dirname, 'load-store.data.json'), 'utf8')) as {
  readonly riscv64: readonly (Row & { readonly hardened: Expected | null; readonly reference: Expected | null })[];
  readonly aarch64: readonly (Row & { readonly syndrome: (Expected & { readonly registerWidth: 4 | 8 }) | null })[];
};

const fault = (instruction: number, write: boolean, htinst = 0n): Riscv64Trap => ({
  arch: 'riscv64',
  scause: write ? 23n : 21n,
  stval: 0xa003e01n,
  htval: 0xa003e00n >> 2n,
  htinst,
  sepc: 0x8000n,
  instruction,
  source: 0x1122n,
});

/** A store where nothing else says so: the cause must agree with the instruction. */
const stores = (text: string): boolean => /^(c\.)?f?s[bhwd]|^sc\.|^amo/.test(text);

describe.each(['reference', 'hardened'] as const)('RV64, %s: every form that binutils knows', (profile) => {
  it.each(table.riscv64)('$text', (row) => {
    const expected = row[profile];
    const decoded = decodeTrap(fault(row.encoding, expected?.write ?? stores(row.text)), profile);
    if (expected === null) {
      expect(decoded.ok).toBe(false);
      return;
    }
    expect(decoded).toMatchObject({
      value: {
        step: row.size,
        access: { ...expected, address: 0xa003e01n, registerWidth: 8, value: expected.write ? 0x1122n : 0n },
      },
    });
  });

  it.each(table.riscv64.filter((row) => row.size === 4))('$text, transformed in htinst', (row) => {
    const expected = row[profile];
    const write = expected?.write ?? stores(row.text);
    // Hardware clears the base register; a store's offset lies beside it, a load's in the upper bits.
    const transformed = BigInt((row.encoding & (write ? 0x01fff07f : 0x00007fff) & ~0x000f8000) >>> 0);
    for (const [htinst, step] of [
      [transformed, 4],
      [transformed & ~2n, 2],
    ] as const) {
      const decoded = decodeTrap(fault(0, write, htinst), profile);
      if (expected === null) expect(decoded.ok).toBe(false);
      else expect(decoded).toMatchObject({ value: { step, access: expected } });
    }
  });

  it.each([
    ['the page-table walk, load', 0x3000n],
    ['the page-table walk, store', 0x3020n],
  ])('refuses %s', (_, htinst) => {
    expect(decodeTrap(fault(0, htinst === 0x3020n, htinst), profile)).toMatchObject({ ok: false });
  });

  it('refuses a load that is reported as a store', () => {
    expect(decodeTrap(fault(0x00052483, true), profile)).toMatchObject({ ok: false });
  });
});

describe('Zcb, which is younger than the assembler', () => {
  it.each([
    ['c.lbu x9, 0(x10)', 0x8104, { width: 1, write: false, signExtend: false, register: 9 }],
    ['c.lhu x9, 0(x10)', 0x8504, { width: 2, write: false, signExtend: false, register: 9 }],
    ['c.lh x9, 0(x10)', 0x8544, { width: 2, write: false, signExtend: true, register: 9 }],
    ['c.sb x9, 0(x10)', 0x8904, { width: 1, write: true, signExtend: true, register: 9 }],
    ['c.sh x9, 0(x10)', 0x8d04, { width: 2, write: true, signExtend: true, register: 9 }],
  ] as const)('%s is accepted by hardened only', (_, encoding, expected) => {
    expect(decodeTrap(fault(encoding, expected.write), 'hardened')).toMatchObject({
      value: { step: 2, access: expected },
    });
    expect(decodeTrap(fault(encoding, expected.write), 'reference')).toMatchObject({ ok: false });
  });
});

describe('AArch64: every form that binutils knows', () => {
  const abort = (iss: bigint) =>
    decodeTrap(
      {
        arch: 'aarch64',
        esr: (EC_DATA_ABORT_LOWER << ESR_EC_SHIFT) | ESR_IL | iss,
        far: 0xffff_0000_0000_0e04n,
        hpfar: 0xa0030n,
        pc: 0n,
        source: 0x1122n,
      },
      'reference',
    );
  const iss = dataAbortIss({ width: 4, write: false, signExtend: false, register: 9, registerWidth: 4 });

  it.each(table.aarch64)('$text', ({ syndrome }) => {
    if (syndrome === null) expect(abort(0x07n)).toMatchObject({ ok: false });
    else {
      const decoded = abort(dataAbortIss(syndrome));
      expect(decoded).toMatchObject({ value: { step: 4, access: { ...syndrome, address: guestAddress(0xa003e04n) } } });
    }
  });

  it.each([
    ['an invalid fault address (FnV)', iss | (1n << 10n)],
    ['an external abort', (iss & ~0x3fn) | 0x10n],
    ['an alignment fault', (iss & ~0x3fn) | 0x21n],
    ['an access flag fault', (iss & ~0x3fn) | 0x0bn],
  ])('refuses %s', (_, wrong) => {
    expect(abort(wrong)).toMatchObject({ ok: false });
  });

  it.each([0x04n, 0x07n, 0x0cn, 0x0fn])('accepts data fault status %i at any level', (status) => {
    expect(abort((iss & ~0x3fn) | status)).toMatchObject({ ok: true });
  });
});

describe('hypercalls', () => {
  const call: BaoCall = { nr: 2n, dm: 1n, addr: 2n, op: 3n, value: 4n, id: 5n };

  it.each(['aarch64', 'riscv64'] as const)(
    '%s: arguments and results lie in the registers of the reference',
    (arch) => {
      const frame = hypercallFrame(arch, hypercallRegisters(arch, call), 0x1000n);
      expect(decodeHypercall(frame)).toEqual({ service: 'bao', call });
      const { registers, pc } = encodeBaoResult(frame, -1n, [10n, 11n, 12n, 13n, 14n, 15n]);
      expect(pc).toBe(0x1004n);
      expect(registers).toEqual(
        arch === 'aarch64'
          ? [0xffff_ffff_ffff_ffffn, 10n, 11n, 12n, 13n, 14n, 15n]
          : [0n, 0xffff_ffff_ffff_ffffn, 10n, 11n, 12n, 13n, 14n, 15n],
      );
    },
  );

  it('SMC is as HVC, but the PC has yet to move; the 32-bit function id is as the 64-bit one', () => {
    const registers = hypercallRegisters('aarch64', call).with(0, SMCCC_VND_HYP_SRVC32 | 2n);
    const frame = { arch: 'aarch64', conduit: 'smc', pc: 0x1000n, registers } as const;
    expect(decodeHypercall(frame)).toEqual({ service: 'bao', call });
    expect(encodeBaoResult(frame, 0n, undefined).pc).toBe(0x1004n);
    expect(encodeBaoResult({ ...frame, conduit: 'hvc' }, 0n, undefined).pc).toBe(0x1000n);
  });

  it.each([
    [0x84000003n, 'psci'],
    [0xc4000003n, 'psci'],
    [0x84000020n, 'unknown'],
    [0x80000000n, 'unknown'],
    [0xc6000007n, 'bao'],
  ])('function id %i is for %s', (fid, service) => {
    const registers = [fid, 0n, 0n, 0n, 0n, 0n, 0n];
    expect(decodeHypercall({ arch: 'aarch64', conduit: 'hvc', pc: 0n, registers })).toMatchObject({ service });
  });
});
