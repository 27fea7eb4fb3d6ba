import { BUILTIN_PROGRAMS, fixTopology, imagesOf, type Loaded, loadTopology } from '@remio/topology';
import { toGithub, toSarif } from './diagnostic-formats.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { replaceFile } from './replace-file.js';
import { requireFile } from './topology-file.js';

export const CHECK_FORMATS = ['text', 'json', 'sarif', 'github'] as const;

export interface CheckOptions {
  readonly image: readonly string[];
  readonly format: (typeof CHECK_FORMATS)[number];
  readonly fix: boolean;
  readonly json: boolean;
}

/** `remio check`: what is wrong with a topology, where, and how to mend it; with `--fix`, mends it. */
export function check(file: string, { image, json, fix, ...options }: CheckOptions): ExitCode {
  requireFile(file);
  const load = { images: imagesOf(image), programs: BUILTIN_PROGRAMS };
  const checked = fix ? fixFile(file, load) : loadTopology(file, load);
  const format = json ? 'json' : options.format;
  const text = formatted(format, file, checked);
  if (text !== '') console.log(text);
  return checked.topology === undefined ? EXIT.USAGE : EXIT.OK;
}

function formatted(format: CheckOptions['format'], file: string, { diagnostics, text, topology }: Loaded): string {
  switch (format) {
    case 'json':
      return JSON.stringify(diagnostics);
    case 'sarif':
      return JSON.stringify(toSarif(diagnostics), null, 2);
    case 'github':
      return toGithub(diagnostics);
    case 'text': {
      if (topology === undefined) return text;
      const good = `${file}: ${topology.vms.length} VMs on ${topology.board.name}, good`;
      return text === '' ? good : `${text}\n\n${good}`;
    }
  }
}

/** Makes the changes that need no decision, tells them on standard error, and gives what is left. */
function fixFile(file: string, load: Parameters<typeof fixTopology>[1]): Loaded {
  const result = fixTopology(file, load);
  for (const { place, rule, fix } of result.applied) console.error(`${file}:${place.line}: fixed [${rule}]: ${fix}`);
  if (result.fixed !== undefined) replaceFile(file, result.fixed);
  return result;
}
