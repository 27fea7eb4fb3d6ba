import { assert } from '@remio/base';
import type { Place } from '@remio/topology';
import { isMap, isScalar, isSeq, LineCounter, parseDocument } from 'yaml';

/** Steps from the root of a topology: field names and positions in lists. */
export type Path = readonly (string | number)[];

/** A value of a YAML file; integers are bigint, so that 64 bits are exact. */
export type Raw = string | bigint | number | boolean | null | readonly Raw[] | RawMap;
export interface RawMap {
  readonly [field: string]: Raw;
}

export const isRawMap = (value: Raw | undefined): value is RawMap =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The map at a field; empty where there is none. */
export const mapAt = (value: Raw | undefined, field: string): RawMap => {
  const inner = isRawMap(value) ? value[field] : undefined;
  return isRawMap(inner) ? inner : {};
};

export const listAt = (value: Raw | undefined, field: string): readonly Raw[] => {
  const inner = isRawMap(value) ? value[field] : undefined;
  return Array.isArray(inner) ? inner : [];
};

const placeAt = (counter: LineCounter, offset = 0): Place => {
  const { line, col } = counter.linePos(offset);
  return { line, column: col };
};

const keyOf = (path: Path): string => path.join('\0');

/** What a topology file says, as it says it, and on which line it says what. The file has passed the check. */
export class TopologyText {
  readonly raw: Raw;
  readonly #places = new Map<string, Place>();

  constructor(text: string) {
    const counter = new LineCounter();
    const document = parseDocument(text, { lineCounter: counter, intAsBigInt: true, prettyErrors: false });
    assert(document.errors.length === 0, 'a topology that passed the check is YAML');
    this.raw = document.toJS() as Raw;
    this.#note(document.contents, [], counter);
  }

  /** Where a field or value stands; the nearest one around it where the file leaves it out. */
  placeOf(path: Path): Place {
    for (let length = path.length; length > 0; length -= 1) {
      const place = this.#places.get(keyOf(path.slice(0, length)));
      if (place !== undefined) return place;
    }
    return { line: 1, column: 1 };
  }

  /** Its line, from 1. */
  lineOf(path: Path): number {
    return this.placeOf(path).line;
  }

  #note(node: unknown, path: Path, counter: LineCounter): void {
    if (isMap(node)) {
      for (const { key, value } of node.items) {
        if (!isScalar(key)) continue;
        const inner = [...path, String(key.value)];
        this.#places.set(keyOf(inner), placeAt(counter, key.range?.[0]));
        this.#note(value, inner, counter);
      }
    } else if (isSeq(node)) {
      node.items.forEach((item, n) => {
        const inner = [...path, n];
        const range = (item as { readonly range?: readonly number[] | null }).range;
        this.#places.set(keyOf(inner), placeAt(counter, range?.[0]));
        this.#note(item, inner, counter);
      });
    }
  }
}
