import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Dt } from '../../packages/bao/src/dt-tree.js';
import { readDtb } from '../../packages/bao/src/read-dtb.js';
import { readDts } from '../../packages/bao/src/read-dts.js';
import { run, skipsWithout } from '../integration/programs.js';
import { remio, root } from '../integration/run-remio.js';
import { DEMO_BOARDS, demoConfig } from '../support/bao-demo.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-import-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const file = (name: string, content: string | Uint8Array): string => {
  const path = join(scratch, name);
  writeFileSync(path, content);
  return path;
};

describe('the public demo', () => {
  it.each(Object.keys(DEMO_BOARDS))('%s: imports, passes the check, and boots in one process', async (board) => {
    const topology = join(scratch, `${board}.yaml`);
    const imported = await remio('import', 'bao', file(`${board}.c`, demoConfig(board)), '-o', topology);
    expect(imported).toMatchObject({ code: 0 });
    expect(imported.stderr).toContain('not carried: VM freertos has a device of the board to itself');
    expect(await remio('check', topology)).toMatchObject({ code: 0 });
    const up = await remio('up', topology, '--engine', 'inproc', '--until-done', '--json');
    expect(up).toMatchObject({ code: 0 });
    for (let key = 0; key < 5; key += 1) expect(up.stdout).toContain(`{"kind":"probe","device":"device${key}"`);
  });
});

describe('`remio export` and `remio import`', () => {
  it('give back a topology that runs as the first one did, from another directory', async () => {
    const folder = join(scratch, 'ping');
    const again = join(scratch, 'elsewhere', 'ping.yaml');
    mkdirSync(join(scratch, 'elsewhere'));
    const disk = file('disk.img', new Uint8Array(65_536));
    const text = readFileSync(join(root, 'deploy', 'topologies', 'ping-riscv64.yaml'), 'utf8');
    const first = file('ping.yaml', text.replace(/image: [^ ,}]+/, `image: disk.img`));
    expect(await remio('export', 'bao', first, '-o', folder)).toMatchObject({ code: 0 });
    expect(await remio('import', 'bao', join(folder, 'config.c'), '-o', again)).toMatchObject({ code: 0, stderr: '' });
    expect((await remio('digest', again)).stdout).toBe((await remio('digest', first)).stdout);
    expect(readFileSync(again, 'utf8')).toContain('image: ../disk.img');
    expect(await remio('up', again, '--engine', 'inproc', '--until-done')).toMatchObject({ code: 0 });
    expect(disk).toBe(join(scratch, 'disk.img'));
  });

  it('write over what an export made, and over nothing else', async () => {
    const folder = join(scratch, 'mine');
    mkdirSync(folder);
    writeFileSync(join(folder, 'config.c'), '/* mine */\n');
    const topology = join(root, 'deploy', 'topologies', 'demo-aarch64.yaml');
    const refused = await remio('export', 'bao', topology, '-o', folder);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toContain('config.c');
    expect(readFileSync(join(folder, 'config.c'), 'utf8')).toBe('/* mine */\n');
    expect(await remio('export', 'bao', topology, '-o', folder, '--force')).toMatchObject({ code: 0 });
    expect(await remio('export', 'bao', topology, '-o', folder)).toMatchObject({ code: 0 });
  });
});

/** Everything that a source of a device tree may have, with phandles that both readers give alike. */
const TORTURE = String.raw`// A comment
/dts-v1/;
/memreserve/ 0x1000 (0x10 << 4);
/* another */
/ {
	#address-cells = <1>; #size-cells = <1>;
	string = "a\\b\"c\n", "second", "";
	mixed = <1 (2 + 3 * 4) (0x10 >> 1 | 1) (1 ? 7 : 8) (~0 & 0xff) 'A' (-1)>, "text", [de ad BE ef 00];
	bytes8 = /bits/ 8 <1 2 255>; bytes16 = /bits/ 16 <0x1234>; bytes64 = /bits/ 64 <0x123456789abcdef0 1>;
	flag; octal = <010>; reference = <&there 5>; path = &there; by_path = <&{/node@1/inner}>;
	label: labelled = <inside: 1 2>;
	node@1 { reg = <1 1>; phandle = <1>; inner { phandle = <3>; a,b+c.d-e_f?g#h = "odd"; }; };
	gone { x; };
	there: second@2 { reg = <2 1>; phandle = <2>; old; kept; };
};
&there { new = <3>; /delete-property/ old; inner { }; };
/ { node@1 { reg = <1 2>; }; };
/delete-node/ &{/gone};
`;

/** Names, and the bytes of properties, of a tree. */
const shape = ({ name, properties, children }: Dt): unknown => ({
  name,
  properties: [...properties].map(([key, { bytes }]) => [key, Buffer.from(bytes).toString('hex')]).sort(),
  children: children.map(shape).sort(),
});

const noDtc = skipsWithout('device trees as dtc reads them', 'dtc');

describe.skipIf(noDtc)('the readers of device trees', () => {
  const compiled = async (source: string): Promise<Uint8Array> => {
    const blob = source.replace(/s$/, 'b');
    expect(await run('dtc', '-q', '-f', '-O', 'dtb', '-o', blob, source)).toMatchObject({ code: 0 });
    return new Uint8Array(readFileSync(blob));
  };

  it('make of a source what dtc makes of it', async () => {
    const source = file('torture.dts', TORTURE);
    const own = shape(readDts(TORTURE, source, { include: () => undefined }));
    expect(own).toEqual(shape(readDtb(await compiled(source), 'torture.dtb')));
  });

  it('give the same topology of a source and of its blob', async () => {
    const folder = join(scratch, 'trees');
    const topology = join(root, 'deploy', 'topologies', 'demo-riscv64.yaml');
    expect(await remio('export', 'bao', topology, '-o', folder)).toMatchObject({ code: 0 });
    const sources = ['backend', 'guest0', 'guest1'].map((vm) => join(folder, `${vm}.dts`));
    const blobs = sources.map((source) => source.replace(/s$/, 'b'));
    for (const source of sources) await compiled(source);
    const [fromSources, fromBlobs] = [await remio('import', 'dts', ...sources), await remio('import', 'dts', ...blobs)];
    expect(fromSources).toMatchObject({ code: 0 });
    expect(fromBlobs.stdout).toBe(fromSources.stdout.replaceAll('.dts', '.dtb'));
    expect(await remio('check', file('trees.yaml', fromBlobs.stdout))).toMatchObject({ code: 0 });
  });
});

const config = demoConfig('zcu104');

describe('bad input', () => {
  it.each([
    ['a file that is not there', () => join(scratch, 'nowhere.c')],
    ['a directory', () => scratch],
    ['a file of zeros', () => file('zeros.c', new Uint8Array(100_000))],
    ['a program', () => process.execPath],
    ['C that is no configuration', () => file('main.c', 'int main(void) { return 0; }\n')],
    ['a configuration that was cut off', () => file('cut.c', config.slice(0, config.length / 2))],
    ['a million lines', () => file('lines.c', `struct config config = {\n${'  .a = 1,\n'.repeat(1_000_000)}};\n`)],
    ['a million empty lines', () => file('empty.c', '\n'.repeat(1_000_000))],
    ['a device tree that was cut off', () => file('cut.dtb', new Uint8Array([0xd0, 0x0d, 0xfe, 0xed, 0, 0, 1, 0]))],
    [
      'a device tree of a million lines',
      () => file('lines.dts', `/dts-v1/;\n/ {\n${'  a = <1>;\n'.repeat(1_000_000)}};\n`),
    ],
    ['brackets within brackets', () => file('deep.c', `struct config config = ${'{ .a = '.repeat(500_000)}`)],
  ])('is refused with exit code 2, a line that says why, and no stack trace: %s', async (_, path) => {
    for (const format of ['bao', 'dts']) {
      const { code, stdout, stderr } = await remio('import', format, path(), '--board', 'zcu104');
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr.trim().split('\n')).toHaveLength(1);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  });

  it('is refused by the export as by the check', async () => {
    for (const text of ['\0\0\0', 'a: [', `a: &a [*a, *a]\n`, 'board: zcu104\n']) {
      const { code, stderr } = await remio('export', 'bao', file('bad.yaml', text), '-o', join(scratch, 'bad'));
      expect(code).toBe(2);
      expect(stderr).not.toMatch(/\n\s+at /);
    }
  });
});
