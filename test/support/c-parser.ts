import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { CParser } from '@remio/bao';

/** The C grammar as the command loads it. */
export function testCParser(): Promise<CParser> {
  const { resolve } = createRequire(join(import.meta.dirname, '..', '..', 'apps', 'cli', 'package.json'));
  const bytes = (name: string): Uint8Array => new Uint8Array(readFileSync(resolve(name)));
  return CParser.create(bytes('web-tree-sitter/web-tree-sitter.wasm'), bytes('tree-sitter-c/tree-sitter-c.wasm'));
}
