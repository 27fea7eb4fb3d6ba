#!/usr/bin/env node
// Runs the project from a fresh clone with nothing but Node and npm: installs what is missing, builds what changed
// (cached by Nx), then runs `remio` or the tests.
//
//   node tools/run.mjs demo [options]     the demo (npm start)
//   node tools/run.mjs test               every test (npm test)
//   node tools/run.mjs remio ARGS...      the command (npm run remio -- ARGS...)
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const required = [20, 19];

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
if (major < required[0] || (major === required[0] && minor < required[1])) {
  console.error(`Remio needs Node ${required.join('.')} or newer; this is ${process.versions.node}.`);
  process.exit(1);
}

/** Runs a command in the project's directory with the terminal's streams; ends this process if it fails. */
function run(command, args, { quiet = false } = {}) {
  const result = spawnSync(command, args, {
    cwd: root,
    stdio: quiet ? ['ignore', 'pipe', 'pipe'] : 'inherit',
    encoding: 'utf8',
    shell: process.platform === 'win32',
  });
  if (result.error) {
    console.error(`cannot run ${command}: ${result.error.message}`);
    process.exit(1);
  }
  if (result.status !== 0) {
    if (quiet) process.stderr.write(`${result.stdout}${result.stderr}`);
    process.exit(result.status ?? 1);
  }
}

/** Installs the dependencies of the lockfile, unless exactly these are installed. */
function install() {
  const stamp = join(root, 'node_modules', '.remio-lock');
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return;
  console.error('installing dependencies (npm ci)');
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { quiet: true });
  writeFileSync(stamp, lock);
}

function build() {
  run(
    process.execPath,
    [join(root, 'node_modules', 'nx', 'dist', 'bin', 'nx.js'), 'run', 'remio:compile', '--outputStyle=static'],
    {
      quiet: true,
    },
  );
}

/** Runs tests: all of them, or those that vitest is told. */
async function test(args) {
  const vitest = [join(root, 'node_modules', 'vitest', 'vitest.mjs'), 'run'];
  if (args.length > 0) {
    run(process.execPath, [...vitest, ...args]);
    return;
  }
  // Containers wait for their engine most of the time: they are tested beside the others, and told of afterwards.
  const directory = mkdtempSync(join(tmpdir(), 'remio-containers-'));
  const log = join(directory, 'log');
  const out = openSync(log, 'w');
  const beside = spawn(process.execPath, [...vitest, '--project', 'containers'], {
    cwd: root,
    stdio: ['ignore', out, out],
  });
  const ended = new Promise((resolve) => beside.once('exit', (code) => resolve(code ?? 1)));
  const others = spawn(process.execPath, [...vitest, '--project', '!containers'], { cwd: root, stdio: 'inherit' });
  const codes = await Promise.all([new Promise((resolve) => others.once('exit', (code) => resolve(code ?? 1))), ended]);
  process.stdout.write(readFileSync(log));
  rmSync(directory, { recursive: true });
  process.exitCode = Math.max(...codes);
}

const [what = 'demo', ...rest] = process.argv.slice(2);
install();
build();
if (what === 'test') {
  await test(rest);
} else {
  // The command runs in this very process, so that signals, streams and the exit code are its own.
  const main = join(root, 'apps', 'cli', 'dist', 'main.js');
  process.argv = [process.execPath, main, ...(what === 'remio' ? rest : [what, ...rest])];
  await import(pathToFileURL(main).href);
}
