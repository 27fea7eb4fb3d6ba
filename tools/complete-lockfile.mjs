#!/usr/bin/env node
// Completes package-lock.json with the optional packages of other platforms, which npm leaves out
// behind a filtered registry, so that `npm ci` accepts the lockfile on every platform.
// Run it after every dependency change:  node complete-lockfile.mjs [package-lock.json]
import { readFileSync, writeFileSync } from 'node:fs';

const OS = [
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
const CPU = ['x64', 'arm64', 'arm', 'ia32', 's390x', 'ppc64', 'riscv64', 'loong64', 'mips64el', 'wasm32'];

/** The platform that a package's name speaks of, as npm's `os`, `cpu` and `libc` fields. */
function platformOf(name) {
  const words = name.toLowerCase().split(/[-_/.]/);
  const os = OS.find((word) => words.includes(word));
  const cpu = CPU.find((word) => words.includes(word)) ?? (words.includes('gnueabihf') ? 'arm' : undefined);
  const libc = words.some((word) => word.startsWith('musl')) ? 'musl' : undefined;
  return { ...(os && { os: [os] }), ...(cpu && { cpu: [cpu] }), ...(libc && { libc: [libc] }) };
}

/** Whether `dependency`, asked for by the package at `path`, is in the lockfile, by Node's resolution rules. */
function isLocked(packages, path, dependency) {
  for (let base = path; ; ) {
    if (packages[`${base ? `${base}/` : ''}node_modules/${dependency}`]) return true;
    if (base === '') return false;
    const parent = base.lastIndexOf('/node_modules/');
    base = parent >= 0 ? base.slice(0, parent) : '';
  }
}

const file = process.argv[2] ?? 'package-lock.json';
const lock = JSON.parse(readFileSync(file, 'utf8'));
let added = 0;
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [dependency, range] of Object.entries(entry.optionalDependencies ?? {})) {
    if (isLocked(lock.packages, path, dependency)) continue;
    lock.packages[`node_modules/${dependency}`] = {
      version: range.replace(/^[\^~]/, ''),
      ...(entry.dev && { dev: true }),
      optional: true,
      ...platformOf(dependency),
      engines: {},
    };
    added += 1;
  }
}
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${file}: ${added} optional packages of other platforms added`);
