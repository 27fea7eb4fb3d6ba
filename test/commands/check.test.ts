import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { EXAMPLE_TOPOLOGY, RULES } from '@remio/topology';
import { afterAll, describe, expect, it } from 'vitest';
import { remio } from '../integration/run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-check-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const image = join(scratch, 'disk.img');
writeFileSync(image, new Uint8Array(512));
const write = (name: string, content: string | Uint8Array): string => {
  const file = join(scratch, name);
  writeFileSync(file, content);
  return file;
};

const WRONG = EXAMPLE_TOPOLOGY.replace('interrupt: 78', 'interrupt: 27 # the timer\u2019s');

describe('remio check', () => {
  it('--fix changes the file where there is one way to, keeps its mode and comments, and tells what it did', async () => {
    const file = write('mine.yaml', WRONG);
    chmodSync(file, 0o640);
    const ended = await remio('check', '--fix', file, '--image', image);
    expect(ended).toMatchObject({ code: 0, stdout: `${file}: 2 VMs on zcu104, good` });
    expect(ended.stderr).toContain(`${file}:31: fixed [interrupt-private]`);
    expect(readFileSync(file, 'utf8')).toBe(WRONG.replace('27', '40'));
    expect(statSync(file).mode & 0o777).toBe(0o640);
    const again = await remio('check', '--fix', file, '--image', image);
    expect(again).toMatchObject({ code: 0, stderr: '' });
  });

  it('--format: JSON, SARIF and commands for GitHub have the same place; errors are exit code 2', async () => {
    const file = write('other.yaml', WRONG);
    const [json, sarif, github] = await Promise.all(
      ['json', 'sarif', 'github'].map((format) => remio('check', file, '--image', image, '--format', format)),
    );
    expect([json?.code, sarif?.code, github?.code]).toEqual([2, 2, 2]);
    expect(JSON.parse(json?.stdout ?? '')).toMatchObject([
      { rule: 'interrupt-private', place: { line: 31, column: 20 } },
    ]);
    expect(JSON.parse(sarif?.stdout ?? '')).toMatchObject({
      runs: [
        {
          results: [{ ruleId: 'interrupt-private', locations: [{ physicalLocation: { region: { startLine: 31 } } }] }],
        },
      ],
    });
    expect(github?.stdout).toMatch(/^::error file=.*,line=31,col=20,title=remio%3A interrupt-private::/);
  });

  it.each([
    ['binary', new Uint8Array([0x7f, 0x45, 0x4c, 0x46, 0, 0xff])],
    ['cut off', EXAMPLE_TOPOLOGY.slice(0, 700)],
    ['a million lines', '- x\n'.repeat(1_000_000)],
    ['endless', 'vms: &v\n  a: *v\n'],
    ['deep', '['.repeat(1_000_000)],
  ])('bad input is an error and exit code 2, without a stack trace: %s', async (name, content) => {
    const ended = await remio('check', write(`${name}.yaml`, content));
    expect(ended).toMatchObject({ code: 2, stderr: '' });
    expect(ended.stdout).toMatch(/error\[(file|syntax|schema)\]/);
    expect(ended.stdout).not.toMatch(/\n\s+at /);
  });

  it('a board file: its own place and line', async () => {
    const board = write('board.yaml', 'name: b\narch: aarch64\n');
    const file = write('with-board.yaml', EXAMPLE_TOPOLOGY.replace('board: zcu104', 'board: ./board.yaml'));
    const ended = await remio('check', file, '--image', image);
    expect(ended.code).toBe(2);
    expect(ended.stdout).toContain(`${board}:1:1: error[schema]: \`cpus\` is missing`);
    expect(await remio('boards', board)).toMatchObject({ code: 2 });
  });
});

describe('remio explain', () => {
  it('has something to say of every rule, and an example', async () => {
    const { stdout } = await remio('explain');
    expect(stdout.split('\n').map((line) => line.split(' ')[0])).toEqual(Object.keys(RULES));
    const one = await remio('explain', 'windows-touch');
    expect(one.stdout).toMatch(/MagicValue[\s\S]*^ {2}- .*0xa003a00[\s\S]*^ {2}\+ .*0xa003e00/m);
    expect(await remio('explain', 'nothing')).toMatchObject({ code: 2 });
  });
});
