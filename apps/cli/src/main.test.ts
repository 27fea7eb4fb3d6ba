import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

/** What a file of this folder loads when it is loaded: types are none of it, nor what is imported later. */
const loadedBy = (file: string): readonly string[] =>
  [
    ...readFileSync(join(import.meta.dirname, file), 'utf8').matchAll(
      /^import (?!type\b)(?:[^;]*? from )?'([^']+)';/gm,
    ),
  ].map(([, name = '']) => name);

describe('the command line', () => {
  it('loads nothing of what single commands need, which takes most of a second', () => {
    const seen = new Set<string>();
    const libraries = new Set<string>();
    const open = ['main.ts'];
    for (let file = open.pop(); file !== undefined; file = open.pop()) {
      seen.add(file);
      for (const name of loadedBy(file)) {
        const path = name.startsWith('.') ? join(file, '..', name.replace(/\.js$/, '.ts')) : undefined;
        if (path === undefined) libraries.add(name);
        else if (!seen.has(path)) open.push(path);
      }
    }
    expect([...libraries]).toEqual(['node:v8', '@remio/base', 'commander']);
    expect(seen).toContain('experiment-commands.ts');
  });
});
