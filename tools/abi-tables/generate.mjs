#!/usr/bin/env node
// Tables of load and store forms, as GNU binutils assembles them and reads them back: what the hypervisor's decoders
// are tested against. Needs Debian's binutils-riscv64-linux-gnu and binutils-aarch64-linux-gnu.
//   node tools/abi-tables/generate.mjs            writes apps/hypervisor/src/abi/load-store.data.json
//   node tools/abi-tables/generate.mjs --check    fails if the file is not what binutils says now
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const DATA = new URL('../../apps/hypervisor/src/abi/load-store.data.json', import.meta.url);

/** Assembles lines and disassembles the object: one {text, encoding, size} per instruction. */
function roundTrip(prefix, asFlags, dumpFlags, lines) {
  const directory = mkdtempSync(join(tmpdir(), 'abi-tables-'));
  try {
    const source = join(directory, 'forms.s');
    const object = join(directory, 'forms.o');
    writeFileSync(source, `${lines.join('\n')}\n`);
    execFileSync(`${prefix}-as`, [...asFlags, source, '-o', object]);
    const dump = execFileSync(`${prefix}-objdump`, ['-d', ...dumpFlags, object], { encoding: 'utf8' });
    return [...dump.matchAll(/^\s+[0-9a-f]+:\s+([0-9a-f]{4}|[0-9a-f]{8})\s+(.*)$/gm)].map(([, hex, text]) => ({
      text: text
        .replace(/\s+/g, ' ')
        .replace(/ (\/\/|#).*$/, '')
        .trim(),
      encoding: Number.parseInt(hex, 16),
      size: hex.length / 2,
    }));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

// --- RV64: with numeric registers and no aliases, objdump names the very instruction.

const RV_WIDTH = { b: 1, h: 2, w: 4, d: 8 };
const regs = [1, 5, 9, 14, 31];
const low = [8, 11, 15];
const rv = [
  ...['lb', 'lh', 'lw', 'ld', 'lbu', 'lhu', 'lwu', 'sb', 'sh', 'sw', 'sd'].flatMap((name) =>
    [0, ...regs].flatMap((r) => [`${name} x${r}, 0(x10)`, `${name} x${r}, -2048(x10)`, `${name} x${r}, 2047(x10)`]),
  ),
  ...['flw', 'fld', 'fsw', 'fsd'].map((name) => `${name} f9, 8(x10)`),
  ...['lr.w', 'lr.d'].map((name) => `${name} x9, (x10)`),
  ...['sc.w', 'sc.d', 'amoswap.w', 'amoadd.d', 'amoor.w', 'amomaxu.d'].map((name) => `${name} x9, x11, (x10)`),
  '.option rvc',
  ...['c.lw', 'c.sw', 'c.ld', 'c.sd'].flatMap((name) =>
    low.flatMap((r) => [`${name} x${r}, 0(x10)`, `${name} x${r}, 64(x10)`]),
  ),
  ...['c.fld', 'c.fsd'].map((name) => `${name} f9, 8(x10)`),
  ...['c.lwsp', 'c.ldsp'].flatMap((name) => regs.map((r) => `${name} x${r}, 16(x2)`)),
  ...['c.swsp', 'c.sdsp'].flatMap((name) => [0, ...regs].map((r) => `${name} x${r}, 16(x2)`)),
  'c.fldsp f9, 16(x2)',
  'c.fsdsp f9, 16(x2)',
];

function rvExpected(text) {
  const [, compressed, name, operands] = /^(c\.)?(\S+) (.*)$/.exec(text) ?? [];
  const plain = /^(l|s)([bhwd])(u?)(sp)?$/.exec(name ?? '');
  const register = /^x(\d+),/.exec(operands ?? '');
  if (plain === null || register === null) return { hardened: null, reference: null };
  const [, direction, size, unsigned, sp] = plain;
  const expected = {
    width: RV_WIDTH[size],
    write: direction === 's',
    signExtend: direction === 's' || unsigned === '',
    register: Number(register[1]),
  };
  const inReference = compressed === undefined || (size === 'w' && sp === undefined);
  return { hardened: expected, reference: inReference ? expected : null };
}

const riscv64 = roundTrip(
  'riscv64-linux-gnu',
  ['-march=rv64gc'],
  ['-M', 'no-aliases,numeric'],
  ['.option norvc', ...rv],
).map((row) => ({
  ...row,
  ...rvExpected(row.text),
}));

// --- A64: hardware gives the syndrome. Valid (ISV) for a single general register without writeback, and only then.

const A64_SIZE = { b: 1, h: 2, '': undefined, w: 4 };
const a64 = [
  ...[
    'ldr w9',
    'ldr x9',
    'str w9',
    'str x30',
    'ldrb w9',
    'ldrh w9',
    'strb w9',
    'strh wzr',
    'ldrsb w9',
    'ldrsb x9',
    'ldrsh w9',
    'ldrsh x9',
    'ldrsw x9',
  ].flatMap((form) => [
    `${form}, [x10]`,
    `${form}, [x10, #8]`,
    `${form}, [x10, x11]`,
    `${form}, [x10, #8]!`,
    `${form}, [x10], #8`,
  ]),
  ...['ldur w9', 'ldur xzr', 'stur w9', 'stur x9', 'ldurb w9', 'ldursw x9'].map((form) => `${form}, [x10, #-3]`),
  ...['ldar w9', 'ldar x9', 'stlr w9', 'ldarb w9', 'stlrh w9'].map((form) => `${form}, [x10]`),
  ...['ldp x9, x11', 'stp w9, w11', 'ldpsw x9, x11', 'ldnp x9, x11'].map((form) => `${form}, [x10]`),
  ...['ldxr w9', 'ldaxr x9'].map((form) => `${form}, [x10]`),
  ...['stxr w8, w9', 'stlxr w8, x9'].map((form) => `${form}, [x10]`),
  ...['ldr s9', 'ldr d9', 'ldr q9', 'str q9'].map((form) => `${form}, [x10]`),
  'ld1 {v9.16b}, [x10]',
  'ldadd w9, w11, [x10]',
  'swp x9, x11, [x10]',
  'cas w9, w11, [x10]',
];

function a64Syndrome(text) {
  const [, name = '', bank = '', number = '', rest = ''] = /^(\S+) ([wx])(\d+|zr), (\[.*)$/.exec(text) ?? [];
  const single = /^(ldr|str|ldur|stur|ldar|stlr)(s?)([bhw]?)$/.exec(name);
  if (single === null || rest.includes('!') || !rest.endsWith(']')) return null;
  const [, kind, signed, size] = single;
  return {
    width: A64_SIZE[size] ?? (bank === 'x' ? 8 : 4),
    write: kind.startsWith('st'),
    signExtend: signed === 's',
    register: number === 'zr' ? 31 : Number(number),
    registerWidth: bank === 'x' ? 8 : 4,
  };
}

const aarch64 = roundTrip('aarch64-linux-gnu', ['-march=armv8.1-a'], [], a64).map((row) => ({
  ...row,
  syndrome: a64Syndrome(row.text),
}));

const text = `{
"riscv64": [
${riscv64.map((row) => JSON.stringify(row)).join(',\n')}
],
"aarch64": [
${aarch64.map((row) => JSON.stringify(row)).join(',\n')}
]
}
`;
if (process.argv.includes('--check')) {
  if (readFileSync(DATA, 'utf8') !== text) {
    console.error('load-store.data.json is not what binutils says: run node tools/abi-tables/generate.mjs');
    process.exit(1);
  }
  console.log(`${riscv64.length} RV64 and ${aarch64.length} A64 forms: as binutils says`);
} else writeFileSync(DATA, text);
