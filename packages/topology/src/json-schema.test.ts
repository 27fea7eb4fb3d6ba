import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { boardJsonSchema, topologyJsonSchema } from './index.js';

it.each([
  ['topology', topologyJsonSchema],
  ['board', boardJsonSchema],
] as const)(
  'the published JSON Schema of a %s is that of the language (node tools/topology-schema.mjs writes it)',
  (name, schema) => {
    const file = join(import.meta.dirname, '..', 'schema', `${name}.schema.json`);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(schema())));
  },
);
