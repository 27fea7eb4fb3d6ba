#!/usr/bin/env node
// npm writes a lockfile without the optional packages of other platforms when its registry does not list them, and
// `npm ci` then refuses that lockfile elsewhere. This adds an entry for each one that is missing.
// Run it after every change of dependencies:  node tools/complete-lockfile.mjs [package-lock.json]
import { readFileSync, writeFileSync } from 'node:fs';

const SYSTEMS = [
  'darwin',
  'linux',
  'win32',
  'freebsd',
  'openbsd',
  'netbsd',
  'android',
  'sunos',
  'aix',
  'openharmony',
  'wasi',
];
const CPUS = ['x64', 'arm64', 'arm', 'ia32', 's390x', 'ppc64', 'riscv64', 'loong64', 'mips64el', 'wasm32'];

/** The `os`, `cpu` and `libc` fields that npm would write for a package, read off its name. */
function platformFields(name) {
  const words = new Set(name.toLowerCase().split(/[-_/.]/));
  const os = SYSTEMS.find((system) => words.has(system));
  const cpu = CPUS.find((candidate) => words.has(candidate)) ?? (words.has('gnueabihf') ? 'arm' : undefined);
  const musl = [...words].some((word) => word.startsWith('musl'));
  return { ...(os && { os: [os] }), ...(cpu && { cpu: [cpu] }), ...(musl && { libc: ['musl'] }) };
}

/** Whether Node, resolving from the package at `path`, would find `dependency` among the locked packages. */
function resolves(packages, path, dependency) {
  let base = path;
  for (;;) {
    if (packages[`${base === '' ? '' : `${base}/`}node_modules/${dependency}`] !== undefined) return true;
    if (base === '') return false;
    const parent = base.lastIndexOf('/node_modules/');
    base = parent < 0 ? '' : base.slice(0, parent);
  }
}

const file = process.argv[2] ?? 'package-lock.json';
const lock = JSON.parse(readFileSync(file, 'utf8'));
let added = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [dependency, range] of Object.entries(entry.optionalDependencies ?? {})) {
    if (resolves(lock.packages, path, dependency)) continue;
    lock.packages[`node_modules/${dependency}`] = {
      version: range.replace(/^[\^~]/, ''),
      ...(entry.dev && { dev: true }),
      optional: true,
      ...platformFields(dependency),
      engines: {},
    };
    added += 1;
  }
}
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${file}: ${added} optional packages of other platforms added`);
