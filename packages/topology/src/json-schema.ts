import { z } from 'zod';
import { boardSchema } from './board-file.js';
import { topologySchema } from './schema.js';

const jsonSchema = (id: string, title: string, schema: z.ZodType): object => ({
  $id: `https://remio.invalid/${id}.schema.json`,
  title,
  ...z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema: made }) => {
      // YAML has integers only; that they are read as bigint is our own affair.
      if (zodSchema._zod.def.type === 'bigint') made.type = 'integer';
    },
  }),
});

/** The topology language as JSON Schema, for editors. What only the check knows (places, pairs, overlaps) is not in it. */
export const topologyJsonSchema = (): object => jsonSchema('topology', 'Remio topology', topologySchema);

/** The language of board files as JSON Schema. */
export const boardJsonSchema = (): object => jsonSchema('board', 'Remio board', boardSchema);
