import { err, ok, type Result } from '@remio/base';
import {
  readEnd,
  readHead,
  readStep,
  type Vector,
  type VectorEnd,
  type VectorHead,
  type VectorStep,
} from './vector.js';

/** A vector comes as its head, its steps in order, and its end. */
export type VectorPart =
  | { readonly kind: 'head'; readonly head: VectorHead }
  | { readonly kind: 'step'; readonly step: VectorStep }
  | { readonly kind: 'end'; readonly end: VectorEnd }
  /** The text ends among the steps: whoever wrote it was stopped. */
  | { readonly kind: 'cut' };

/** What opens and closes the list of steps, on lines of their own. */
const STEPS = '"steps":[';
const STEPS_OVER = /^\],?$/;

/**
 * Reads a vector line by line. In the usual layout (a step to a line) parts come as soon as their line does, and nothing
 * is kept; in any other they come at the end.
 */
export class VectorReader {
  #state: 'head' | 'steps' | 'rest' = 'head';
  #text = '';
  #line = 0;
  #steps = 0;
  /** A step that could not be read: forgiven if it is the last line, written only in part. */
  #broken: string | undefined;

  /** Takes the next line, without its end. */
  take(line: string): Result<readonly VectorPart[], string> {
    this.#line += 1;
    if (this.#broken !== undefined && line.trim() !== '') return err(this.#broken);
    switch (this.#state) {
      case 'head':
        if (line !== STEPS) {
          this.#text += `${line}\n`;
          return ok([]);
        }
        this.#state = 'steps';
        return this.#head(`${this.#text}${STEPS}]}`);
      case 'steps':
        if (!STEPS_OVER.test(line)) return this.#step(line);
        this.#state = 'rest';
        this.#text = '{';
        return ok([]);
      case 'rest':
        this.#text += line;
        return ok([]);
    }
  }

  /** The text is over. */
  finish(): Result<readonly VectorPart[], string> {
    switch (this.#state) {
      case 'head':
        return this.#whole();
      case 'steps':
        return ok([{ kind: 'cut' }]);
      case 'rest': {
        const rest = json(this.#text);
        return rest.ok ? this.#end(rest.value) : rest;
      }
    }
  }

  #head(text: string): Result<readonly VectorPart[], string> {
    this.#text = '';
    const value = json(text);
    const head = value.ok ? readHead(value.value) : value;
    return head.ok ? ok([{ kind: 'head', head: head.value }]) : head;
  }

  #step(line: string): Result<readonly VectorPart[], string> {
    if (line.trim() === '') return ok([]);
    const value = json(line.endsWith(',') ? line.slice(0, -1) : line);
    const step = value.ok ? readStep(value.value) : value;
    if (step.ok) {
      this.#steps += 1;
      return ok([{ kind: 'step', step: step.value }]);
    }
    const problem = `line ${this.#line}, steps.${this.#steps}: ${step.error}`;
    if (value.ok) return err(problem);
    this.#broken = problem;
    return ok([]);
  }

  #end(value: unknown): Result<readonly VectorPart[], string> {
    if (typeof value !== 'object' || value === null || !('end' in value)) return ok([]);
    const end = readEnd(value.end);
    return end.ok ? ok([{ kind: 'end', end: end.value }]) : err(`end.${end.error}`);
  }

  /** A text in another layout. */
  #whole(): Result<readonly VectorPart[], string> {
    const value = json(this.#text);
    const head = value.ok ? readHead(value.value) : value;
    if (!head.ok || !value.ok) return head.ok ? err('') : head;
    const parts: VectorPart[] = [{ kind: 'head', head: head.value }];
    const { steps } = value.value as { readonly steps?: unknown };
    if (!Array.isArray(steps)) return err('steps: expected a list');
    for (const [index, each] of steps.entries()) {
      const step = readStep(each);
      if (!step.ok) return err(`steps.${index}.${step.error}`);
      parts.push({ kind: 'step', step: step.value });
    }
    const end = this.#end(value.value);
    return end.ok ? ok([...parts, ...end.value]) : end;
  }
}

const json = (text: string): Result<unknown, string> => {
  try {
    return ok(JSON.parse(text) as unknown);
  } catch (error) {
    return err(`not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
};

/**
 * Reads a whole vector.
 * @returns what is wrong with the text, with the place in it
 */
export function parseVector(text: string): Result<Vector, string> {
  const reader = new VectorReader();
  const parts: VectorPart[] = [];
  for (const line of text.split('\n')) {
    const taken = reader.take(line);
    if (!taken.ok) return taken;
    parts.push(...taken.value);
  }
  const rest = reader.finish();
  if (!rest.ok) return rest;
  parts.push(...rest.value);
  const [first] = parts;
  if (first?.kind !== 'head') return err('not a vector');
  if (parts.some(({ kind }) => kind === 'cut')) return err('it ends among its steps');
  return ok({
    ...first.head,
    steps: parts.flatMap((part) => (part.kind === 'step' ? [part.step] : [])),
    end: parts.flatMap((part) => (part.kind === 'end' ? [part.end] : []))[0],
  });
}

/** Writes a vector in the usual layout: {@link head}, any number of {@link step}, {@link end}. */
export class VectorWriter {
  #first = true;

  head(head: Readonly<Record<string, unknown>>): string {
    const fields = Object.entries(head).map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    return `{\n${fields.join(',\n')},\n${STEPS}`;
  }

  step(step: Readonly<Record<string, unknown>>): string {
    // The comma goes before the line's end of the step before: a text that is cut is good as far as it goes.
    const text = `${this.#first ? '' : ','}\n${JSON.stringify(step)}`;
    this.#first = false;
    return text;
  }

  end(end: unknown): string {
    return `\n],\n"end":${JSON.stringify(end)}\n}\n`;
  }
}
