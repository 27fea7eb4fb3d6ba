#!/usr/bin/env node
// Runs the ```console blocks of pages, and compares what they print with what the pages say; --write writes it there.
// `$ ` starts a command, and `remio` is this clone's. All blocks of a page run in one directory, which has `deploy`.
//
//   node tools/docs-console.mjs [--write] docs/topology.md docs/boards.md     on a built tree
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const main = join(root, 'apps', 'cli', 'dist', 'main.js');
const write = process.argv.includes('--write');
const pages = process.argv.slice(2).filter((argument) => argument !== '--write');
let wrong = 0;

for (const page of pages) {
  const path = join(root, page);
  const scratch = mkdtempSync(join(tmpdir(), 'remio-docs-'));
  symlinkSync(join(root, 'deploy'), join(scratch, 'deploy'));
  const text = readFileSync(path, 'utf8');
  const made = text.replace(
    /^```console\n([\s\S]*?)^```$/gm,
    (_, block) => `\`\`\`console\n${ran(block, scratch)}\`\`\``,
  );
  rmSync(scratch, { recursive: true, force: true });
  if (made === text) continue;
  if (write) writeFileSync(path, made);
  else {
    wrong += 1;
    const [before, after] = [text.split('\n'), made.split('\n')];
    const line = before.findIndex((one, n) => one !== after[n]);
    console.error(`${page}:${line + 1}: the page says\n  ${before[line]}\nand the command prints\n  ${after[line]}`);
    console.error('node tools/docs-console.mjs --write puts it right');
  }
}
process.exit(wrong === 0 ? 0 : 1);

/** A block with what its commands print now. */
function ran(block, directory) {
  const commands = block.split('\n').filter((line) => line.startsWith('$ '));
  return commands.map((line) => `${line}\n${output(line.slice(2), directory)}`).join('');
}

function output(command, cwd) {
  const shell = `remio() { "${process.execPath}" "${main}" "$@"; }\n${command}`;
  const { stdout } = spawnSync('bash', ['-c', `{ ${shell}\n} 2>&1`], {
    cwd,
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1' },
  });
  return stdout === '' || stdout.endsWith('\n') ? stdout : `${stdout}\n`;
}
