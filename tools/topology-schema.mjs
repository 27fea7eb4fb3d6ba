#!/usr/bin/env node
// Writes the JSON Schema of topology files from the language's own definition, for editors.
// Run it after every change of packages/topology/src/schema.ts, on a built tree:  node tools/topology-schema.mjs
import { writeFileSync } from 'node:fs';
import { topologyJsonSchema } from '../packages/topology/dist/index.js';

writeFileSync(
  new URL('../packages/topology/schema/topology.schema.json', import.meta.url),
  `${JSON.stringify(topologyJsonSchema(), null, 2)}\n`,
);
