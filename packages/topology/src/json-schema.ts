import { z } from 'zod';
import { topologySchema } from './schema.js';

/** The topology language as JSON Schema, for editors. What only the check knows (places, pairs, overlaps) is not in it. */
export const topologyJsonSchema = (): object => ({
  $id: 'https://remio.invalid/topology.schema.json',
  title: 'Remio topology',
  ...z.toJSONSchema(topologySchema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      // YAML has integers only; that they are read as bigint is our own affair.
      if (zodSchema._zod.def.type === 'bigint') jsonSchema.type = 'integer';
    },
  }),
});
