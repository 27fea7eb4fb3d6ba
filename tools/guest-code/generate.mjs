#!/usr/bin/env node
// Machine code for the tests of the interpreter's seat, with what other programs say of it:
// - instructions.data.json: snippets, assembled by GNU binutils, with their results as QEMU computes them.
// - programs.data.json: the guest programs in packages/guest/src/testing/programs, assembled.
// Needs Debian's binutils-aarch64-linux-gnu, binutils-riscv64-linux-gnu and qemu-user.
//   node tools/guest-code/generate.mjs            writes both files
//   node tools/guest-code/generate.mjs --check    fails if they are not what the tools say now
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as table from './instructions.mjs';

const TESTING = fileURLToPath(new URL('../../packages/guest/src/testing/', import.meta.url));

const TOOLS = {
  aarch64: { prefix: 'aarch64-linux-gnu', march: 'armv8-a', qemu: 'qemu-aarch64' },
  riscv64: { prefix: 'riscv64-linux-gnu', march: 'rv64ic_zicsr_zifencei', qemu: 'qemu-riscv64' },
};

/** Runs `use` in a directory of its own. */
function scratch(use) {
  const directory = mkdtempSync(join(tmpdir(), 'guest-code-'));
  try {
    return use((name) => join(directory, name));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

function assemble({ prefix, march }, path, source, linkFlags, include = '.') {
  writeFileSync(path('code.s'), source);
  execFileSync(`${prefix}-as`, [`-march=${march}`, '-I', include, path('code.s'), '-o', path('code.o')]);
  execFileSync(`${prefix}-ld`, [...linkFlags, path('code.o'), '-o', path('code.elf')]);
}

/** The architecture's parts of the program that runs every snippet on every input. */
const HARNESS = {
  aarch64: {
    start: 'adr_l x28, output',
    macro:
      '.macro adr_l register, symbol\nadrp \\register, \\symbol\nadd \\register, \\register, :lo12:\\symbol\n.endm',
    fill: [
      'adr_l x4, pattern',
      'adr_l x5, buffer',
      '.irp at, 0, 16, 32, 48',
      'ldp x6, x7, [x4, #\\at]',
      'stp x6, x7, [x5, #\\at]',
      '.endr',
    ],
    inputs: (a, b) => [
      `ldr x0, =${table.SEED}`,
      `ldr x1, =${a}`,
      `ldr x2, =${b}`,
      `adr_l x3, buffer + ${table.POINTER}`,
      'msr nzcv, xzr',
    ],
    keep: [
      'mrs x9, nzcv',
      'str x0, [x28], #8',
      'str x9, [x28], #8',
      `adr_l x4, buffer + ${table.POINTER}`,
      'sub x3, x3, x4',
      'str x3, [x28], #8',
      'adr_l x5, buffer',
      '.irp at, 0, 16, 32, 48',
      'ldp x6, x7, [x5, #\\at]',
      'stp x6, x7, [x28], #16',
      '.endr',
    ],
    pool: ['b 9f', '.ltorg', '9:'],
    end: [
      'mov x0, #1',
      'adr_l x1, output',
      'sub x2, x28, x1',
      'mov x8, #64',
      'svc #0',
      'mov x0, #0',
      'mov x8, #93',
      'svc #0',
    ],
  },
  riscv64: {
    start: '.option norvc; la s11, output',
    macro: '',
    fill: [
      'la t0, pattern',
      'la t1, buffer',
      '.irp at, 0, 8, 16, 24, 32, 40, 48, 56',
      'ld t2, \\at(t0)',
      'sd t2, \\at(t1)',
      '.endr',
    ],
    inputs: (a, b) => [
      `li a0, ${table.SEED}`,
      `li a1, ${a}`,
      `li a2, ${b}`,
      `la a3, buffer + ${table.POINTER}`,
      'mv sp, a3',
    ],
    keep: [
      'sd a0, 0(s11)',
      'sd zero, 8(s11)',
      `la t0, buffer + ${table.POINTER}`,
      'sub a3, a3, t0',
      'sd a3, 16(s11)',
      'la t1, buffer',
      '.irp at, 0, 8, 16, 24, 32, 40, 48, 56',
      'ld t2, \\at(t1)',
      'sd t2, 24 + \\at(s11)',
      '.endr',
      `addi s11, s11, ${24 + table.BUFFER_SIZE}`,
    ],
    pool: [],
    end: ['li a0, 1', 'la a1, output', 'sub a2, s11, a1', 'li a7, 64', 'ecall', 'li a0, 0', 'li a7, 93', 'ecall'],
  },
};

/** The bytes between two symbols of the linked program. */
function symbols({ prefix }, file) {
  const text = execFileSync(`${prefix}-nm`, [file], { encoding: 'utf8' });
  return new Map([...text.matchAll(/^([0-9a-f]+) \w (\S+)$/gm)].map(([, at, name]) => [name, Number.parseInt(at, 16)]));
}

/** Snippets with their code, and QEMU's results for each input. */
function instructions(arch) {
  const tools = TOOLS[arch];
  const harness = HARNESS[arch];
  const options = new Map();
  let option = '';
  const snippets = table.SNIPPETS[arch].filter((line) => {
    if (line.startsWith('.option')) option = line;
    else options.set(line, option);
    return !line.startsWith('.option');
  });
  const runs = snippets.flatMap((snippet, n) =>
    table.INPUTS.flatMap(([a, b], k) => [
      ...harness.fill,
      ...harness.inputs(a, b),
      ...(k === 0 ? [`snippet_${n}:`] : []),
      options.get(snippet) ?? '',
      ...snippet.split(';').map((line) => line.trim()),
      arch === 'riscv64' ? '.option norvc' : '',
      ...(k === 0 ? [`end_${n}:`] : []),
      ...harness.keep,
      ...harness.pool,
    ]),
  );
  const words = [...table.buffer()].join(', ');
  const room = snippets.length * table.INPUTS.length * (24 + table.BUFFER_SIZE);
  const source = [
    harness.macro,
    '.globl _start',
    '_start:',
    harness.start,
    ...runs,
    ...harness.end,
    '.data',
    '.balign 8',
    `pattern: .byte ${words}`,
    `buffer: .zero ${table.BUFFER_SIZE}`,
    `output: .zero ${room}`,
    '',
  ].join('\n');
  return scratch((path) => {
    assemble(tools, path, source, ['-Ttext=0x10000', '--no-relax']);
    const at = symbols(tools, path('code.elf'));
    execFileSync(`${tools.prefix}-objcopy`, ['-O', 'binary', '-j', '.text', path('code.elf'), path('text')]);
    const text = readFileSync(path('text'));
    const output = execFileSync(tools.qemu, [path('code.elf')], { maxBuffer: room + 1 });
    if (output.length !== room) throw new Error(`${arch}: QEMU gave ${output.length} bytes, not ${room}`);
    const pattern = Buffer.from(table.buffer());
    let from = 0;
    return snippets.map((snippet, n) => ({
      text: snippet,
      code: text.subarray(at.get(`snippet_${n}`) - 0x10000, at.get(`end_${n}`) - 0x10000).toString('hex'),
      results: table.INPUTS.map(() => {
        const u64 = (offset) => `0x${output.readBigUInt64LE(from + offset).toString(16)}`;
        const memory = output.subarray(from + 24, from + 24 + table.BUFFER_SIZE);
        const result = {
          value: u64(0),
          ...(output.readBigUInt64LE(from + 8) === 0n ? {} : { nzcv: u64(8) }),
          ...(output.readBigInt64LE(from + 16) === 0n ? {} : { moved: Number(output.readBigInt64LE(from + 16)) }),
          ...(memory.equals(pattern) ? {} : { memory: memory.toString('hex') }),
        };
        from += 24 + table.BUFFER_SIZE;
        return result;
      }),
    }));
  });
}

/** What the compressed instructions stand for, as objdump reads them: {half, word} of the same instruction. */
function compressed() {
  const tools = TOOLS.riscv64;
  const lines = table.SNIPPETS.riscv64.flatMap((snippet) => snippet.split(';')).map((line) => line.trim());
  const plain = new Set(lines.filter((line) => line.startsWith('c.') && !/\d[bf]$/.test(line)));
  return scratch((path) =>
    [...plain].map((line) => {
      assemble(tools, path, `${line}\n`, ['-Ttext=0x10000', '--no-relax', '-e', '0']);
      const dump = execFileSync(`${tools.prefix}-objdump`, ['-d', path('code.elf')], { encoding: 'utf8' });
      const [, half, text] = /^\s+10000:\s+([0-9a-f]{4})\s+(.*)$/m.exec(dump) ?? [];
      // objdump's alias for C.MV is assembled as ADDI; the specification expands it to ADD.
      const same = text.replace(/#.*/, '').replace(/^mv\s+(\w+),/, 'add $1,zero,');
      assemble(tools, path, `.option norvc\n${same}\n`, ['-Ttext=0x10000', '--no-relax', '-e', '0']);
      const wide = execFileSync(`${tools.prefix}-objdump`, ['-d', path('code.elf')], { encoding: 'utf8' });
      const [, word] = /^\s+10000:\s+([0-9a-f]{8})\s/m.exec(wide) ?? [];
      return { text: line, half, word };
    }),
  );
}

const rows = (list) => `[\n${list.map((row) => JSON.stringify(row)).join(',\n')}\n]`;
const files = {
  'instructions.data.json': () => `{
"inputs": ${JSON.stringify(table.INPUTS.map((pair) => pair.map((value) => `0x${value.toString(16)}`)))},
"seed": "0x${table.SEED.toString(16)}",
"buffer": "${Buffer.from(table.buffer()).toString('hex')}",
"pointer": ${table.POINTER},
"aarch64": ${rows(instructions('aarch64'))},
"riscv64": ${rows(instructions('riscv64'))},
"compressed": ${rows(compressed())}
}
`,
  'programs.data.json': programs,
};

/** The guest programs: NAME.ARCH.s each, as the bytes from the first address of a VM's memory on. */
function programs() {
  const directory = join(TESTING, 'programs');
  const sources = readdirSync(directory)
    .filter((name) => name.endsWith('.s'))
    .sort();
  return `{\n${sources
    .map((name) => {
      const [program, arch] = name.split('.');
      const tools = TOOLS[arch];
      const code = scratch((path) => {
        assemble(
          tools,
          path,
          readFileSync(join(directory, name), 'utf8'),
          ['-Ttext=0', '--no-relax', '-e', '0'],
          directory,
        );
        execFileSync(`${tools.prefix}-objcopy`, ['-O', 'binary', '-j', '.text', path('code.elf'), path('text')]);
        return readFileSync(path('text')).toString('hex');
      });
      return `"${program}.${arch}": "${code}"`;
    })
    .join(',\n')}\n}\n`;
}

for (const [name, make] of Object.entries(files)) {
  const file = join(TESTING, name);
  const text = make();
  if (!process.argv.includes('--check')) writeFileSync(file, text);
  else if (readFileSync(file, 'utf8') === text) console.log(`${name}: as binutils and QEMU say`);
  else {
    console.error(`${name} is not what binutils and QEMU say: run node tools/guest-code/generate.mjs`);
    process.exit(1);
  }
}
