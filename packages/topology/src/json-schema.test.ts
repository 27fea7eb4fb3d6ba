import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { topologyJsonSchema } from './index.js';

it('the published JSON Schema is that of the language (node tools/topology-schema.mjs writes it)', () => {
  const file = join(import.meta.dirname, '..', 'schema', 'topology.schema.json');
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(JSON.stringify(topologyJsonSchema())));
});
