import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseVector, type VectorPart, VectorReader } from './vector-text.js';

const text = readFileSync(
  join(import.meta.dirname, '..', '..', '..', '..', 'test', 'vectors', 'remio', 'a64-basic-read.json'),
  'utf8',
);
const lines = text.split('\n');

/** The parts of a text, read line by line; the first problem. */
const read = (of: readonly string[]): readonly VectorPart['kind'][] | string => {
  const reader = new VectorReader();
  const kinds: VectorPart['kind'][] = [];
  for (const line of of) {
    const taken = reader.take(line);
    if (!taken.ok) return taken.error;
    kinds.push(...taken.value.map(({ kind }) => kind));
  }
  const rest = reader.finish();
  return rest.ok ? [...kinds, ...rest.value.map(({ kind }) => kind)] : rest.error;
};

describe('the reader of vectors', () => {
  it('gives every part as soon as its line is there', () => {
    const reader = new VectorReader();
    const kinds = lines.map((line) => {
      const taken = reader.take(line);
      return taken.ok ? taken.value.map(({ kind }) => kind) : [taken.error];
    });
    const open = lines.indexOf('"steps":[');
    expect(kinds.slice(0, open)).toEqual(Array.from({ length: open }, () => []));
    expect(kinds[open]).toEqual(['head']);
    expect(kinds[open + 1]).toEqual(['step']);
  });

  it('reads any other layout as a whole, to the same vector', () => {
    for (const indent of [0, 2]) {
      expect(parseVector(JSON.stringify(JSON.parse(text), undefined, indent))).toEqual(parseVector(text));
    }
  });

  it('forgives a last line that was written in part, and says that the text was cut', () => {
    const upTo = lines.findIndex((line) => line.startsWith('{"do":"hvc"'));
    const whole = read(lines.slice(0, upTo));
    expect(whole).toEqual(['head', 'step', 'step', 'step', 'step', 'cut']);
    expect(read([...lines.slice(0, upTo), (lines[upTo] ?? '').slice(0, 40)])).toEqual(whole);
  });

  it.each([
    ['a broken line among others', (line: string) => line.slice(0, 40), /^line \d+, steps\.4: not JSON/],
    ['an unknown step', (line: string) => line.replace('"hvc"', '"jump"'), /steps\.4: do: /],
    ['a missing field', (line: string) => line.replace('"dm":"0x0",', ''), /steps\.4: dm: /],
    ['a number with leading zeros', (line: string) => line.replace('"0x2"', '"0x02"'), /steps\.4: nr: /],
    ['a negative 64-bit number', (line: string) => line.replace('"0x2"', '"-0x2"'), /steps\.4: nr: /],
    ['an end that is none', (line: string) => line, /^end\.cpus/],
  ])('%s: the place in the text', (what, change, problem) => {
    const at = lines.findIndex((line) => line.startsWith('{"do":"hvc"'));
    const changed = lines.with(at, change(lines[at] ?? ''));
    const final = what.startsWith('an end')
      ? changed.map((line) => (line.startsWith('"end":') ? '"end":{}' : line))
      : changed;
    expect(read(final)).toMatch(problem);
  });

  it.each(['', '[]', 'null', '{}', '{"format":"remio-vectors/2"}', 'not JSON'])('refuses %s', (other) => {
    expect(parseVector(other)).toMatchObject({ ok: false });
  });
});
