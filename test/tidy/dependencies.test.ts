import { readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = join(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** Parts from the lowest to the highest: a part may import parts of earlier rows only. */
const ROWS: readonly (readonly string[])[] = [
  ['base'],
  ['arch', 'virtio-spec', 'guest-memory', 'nbd'],
  ['virtqueue', 'remote-memory', 'ethernet', 'vsock', 'board', 'guest', 'protocol', 'telemetry'],
  ['virtio-device', 'virtio-driver', 'topology', 'transport', 'shared-memory', 'metrics'],
  ['host-io', 'bao', 'graph'],
  ['hypervisor'],
  ['vm-runtime'],
  ['world', 'hostile'],
  ['frontend-vm'],
  ['backend-vm'],
  ['experiments'],
  ['cli'],
];

/** Where nothing may wait, look at a clock, roll dice or touch the outside: the same inputs give the same outputs. */
const PURE = [
  'packages/base/src',
  'packages/arch/src',
  'packages/virtio-spec/src',
  'packages/guest-memory/src',
  'packages/remote-memory/src',
  'packages/nbd/src',
  'packages/virtqueue/src',
  'packages/ethernet/src',
  'packages/vsock/src',
  'packages/virtio-device/src',
  'packages/virtio-driver/src',
  'packages/guest/src',
  'packages/protocol/src',
  'packages/world/src',
  'packages/bao/src',
  'packages/graph/src',
  'apps/hypervisor/src/remio',
  'apps/hypervisor/src/abi',
  'apps/hypervisor/src/irqc',
  'apps/hypervisor/src/lease',
  'apps/hypervisor/src/services',
  'apps/hypervisor/src/platform',
  'apps/hypervisor/src/conformance',
];

const FORBIDDEN: readonly (readonly [RegExp, string])[] = [
  [/from 'node:(?!crypto')[^']+'/, 'a Node module'],
  [/from '(zeromq|pino|koffi)'/, 'a socket, logger or foreign-function library'],
  [/\bDate\b\s*[.(]/, 'the date'],
  [/\bMath\.random\b/, 'random numbers without a seed'],
  [/\b(setTimeout|setInterval|setImmediate)\s*\(/, 'a timer'],
  [/\bprocess\.(?!nextTick)/, 'the process'],
  [/\bperformance\.now\b/, 'a clock'],
  [/(?<!\/)\bconsole\./, 'the console'],
];

/** Functions that IEEE 754 does not fix: machines may differ in the last bit, and simulations drift apart. */
const INEXACT =
  /\bMath\.(log|log2|log10|log1p|exp|expm1|pow|sin|cos|tan|asin|acos|atan|atan2|sinh|cosh|tanh|cbrt|hypot)\b/;
/** Where the same numbers must come out on every machine. */
const EXACT = ['packages/base/src', 'packages/board/src', 'packages/world/src'];

function* sources(directory: string): Generator<string> {
  for (const entry of readdirSync(directory)) {
    const path = join(directory, entry);
    if (statSync(path).isDirectory()) yield* sources(path);
    else if (path.endsWith('.ts')) yield path;
  }
}

const parts = ['packages', 'apps'].flatMap((folder) =>
  readdirSync(join(root, folder)).map((name) => ({ name, folder: join(root, folder, name) })),
);

const rank = (name: string): number => ROWS.findIndex((row) => row.includes(name));

/** Names of `@remio/…` parts that a file imports. */
const imported = (text: string): string[] =>
  [...text.matchAll(/(?:from|import)\s*\(?\s*'@remio\/([a-z-]+)/g)].map((match) => match[1] ?? '');

const isTest = (file: string): boolean => /\.test\.ts$|\/testing\//.test(file);

describe('the direction of dependencies', () => {
  it('gives every part a row', () => {
    expect(parts.map((part) => part.name).filter((name) => rank(name) < 0)).toEqual([]);
  });

  for (const part of parts) {
    it(`${part.name} imports lower parts only, and declares them`, () => {
      const manifest = JSON.parse(readFileSync(join(part.folder, 'package.json'), 'utf8')) as {
        dependencies?: Record<string, string>;
      };
      const declared = new Set(Object.keys(manifest.dependencies ?? {}).map((name) => name.replace('@remio/', '')));
      const wrong: string[] = [];
      for (const file of sources(join(part.folder, 'src'))) {
        const text = readFileSync(file, 'utf8');
        const place = relative(root, file);
        if (!isTest(file) && /(from|import)\s*\(?\s*'[^']+\/testing\b/.test(text)) {
          wrong.push(`${place} imports what is for tests only`);
        }
        for (const name of imported(text)) {
          if (name === part.name) continue;
          if (!isTest(file) && rank(name) >= rank(part.name))
            wrong.push(`${place} imports ${name}, which is not below`);
          if (!isTest(file) && !declared.has(name)) wrong.push(`${place} imports ${name}, which package.json lacks`);
        }
      }
      expect(wrong).toEqual([]);
    });
  }
});

describe('virtual time', () => {
  for (const folder of EXACT) {
    it(`${folder} counts by operations that IEEE 754 fixes`, () => {
      const wrong = [...sources(join(root, folder))].filter(
        (file) => !isTest(file) && INEXACT.test(readFileSync(file, 'utf8').replaceAll(/`Math\.log`/g, '')),
      );
      expect(wrong).toEqual([]);
    });
  }
});

/** Where the date is what is wanted: a name, the times of a capture, when an experiment was made. */
const DATED = [
  'packages/shared-memory/src/run-directory.ts',
  'packages/host-io/src/capture-file.ts',
  'packages/experiments/src/run-folder.ts',
];

describe('a clock that jumps', () => {
  it('changes nothing: whatever lasts or ends is timed by the monotonic one', () => {
    const wrong = parts
      .flatMap(({ folder }) => [...sources(join(folder, 'src'))])
      .filter((file) => !isTest(file) && !DATED.includes(relative(root, file)))
      .filter((file) => /\bDate\b\s*[.(]/.test(readFileSync(file, 'utf8')))
      .map((file) => relative(root, file));
    expect(wrong).toEqual([]);
  });
});

describe('the functional core', () => {
  for (const folder of PURE) {
    it(`${folder} imports no clock, socket, timer or logger`, () => {
      const wrong: string[] = [];
      for (const file of sources(join(root, folder))) {
        const place = relative(root, file);
        if (isTest(file)) continue;
        readFileSync(file, 'utf8')
          .split('\n')
          .forEach((line, index) => {
            if (/^\s*(\/\/|\*|\/\*)/.test(line)) return;
            for (const [pattern, what] of FORBIDDEN) {
              if (pattern.test(line)) wrong.push(`${place}:${index + 1} uses ${what}: ${line.trim()}`);
            }
          });
      }
      expect(wrong).toEqual([]);
    });
  }
});
