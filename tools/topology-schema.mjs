#!/usr/bin/env node
// Writes the JSON Schemas of topology and board files from the languages' own definitions, for editors.
// Run it after every change of packages/topology/src/schema.ts or board-file.ts, on a built tree:
//   node tools/topology-schema.mjs
import { writeFileSync } from 'node:fs';
import { boardJsonSchema, topologyJsonSchema } from '../packages/topology/dist/index.js';

for (const [name, schema] of [
  ['topology', topologyJsonSchema()],
  ['board', boardJsonSchema()],
]) {
  const file = new URL(`../packages/topology/schema/${name}.schema.json`, import.meta.url);
  writeFileSync(file, `${JSON.stringify(schema, null, 2)}\n`);
}
