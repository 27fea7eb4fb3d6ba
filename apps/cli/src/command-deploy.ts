import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BUILTIN_PROGRAMS, imagesOf, loadTopology } from '@remio/topology';
import { renderCompose } from './deploy/compose.js';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';

/** The project: this file is apps/cli/dist/command-deploy.js in it. */
const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..', '..');

export interface RenderOptions {
  readonly output: string;
  readonly image: readonly string[];
  /** Bytes of a disk that is made. */
  readonly diskSize: number;
  /** Directory of the secret keys. */
  readonly keys?: string;
  readonly json: boolean;
}

/** `remio deploy render compose`: writes what an engine of containers needs to run a topology. */
export function renderDeployment(file: string, options: RenderOptions): ExitCode {
  // Images and modules are the containers' to have.
  const { topology, text } = loadTopology(file, { programs: BUILTIN_PROGRAMS, filesOf: [] });
  if (topology === undefined) throw new CommandError(text, EXIT.USAGE);
  if (text !== '') console.error(`${text}\n`);
  const output = resolve(options.output);
  const images = imagesOf(options.image);
  if ('*' in images) throw new CommandError('--image names a device here: --image NAME=PATH', EXIT.USAGE);
  if (options.keys !== undefined && topology.keys === undefined) {
    throw new CommandError(`${file} has no keys: \`remio keys ${file} -o DIR --write\` makes them`, EXIT.USAGE);
  }
  const keys = options.keys === undefined ? {} : { keys: resolve(options.keys) };
  const files = renderCompose(topology, { output, root: ROOT, images, diskSize: options.diskSize, ...keys });
  try {
    for (const { name, text: content } of files) {
      const path = join(output, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`the files cannot be written: ${reason}`, EXIT.ENVIRONMENT);
  }
  const names = files.map(({ name }) => name);
  console.log(options.json ? JSON.stringify({ output, files: names }) : `${names.join(', ')} in ${output}`);
  return EXIT.OK;
}
