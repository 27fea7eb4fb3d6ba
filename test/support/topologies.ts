import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { type BaoExport, type ExportOptions, exportBao } from '@remio/bao';
import { BUILTIN_PROGRAMS, parseTopology, type Topology } from '@remio/topology';

const root = join(import.meta.dirname, '..', '..');

/** A topology, and the text that it was read from. */
export interface TopologyOfText {
  readonly topology: Topology;
  readonly text: string;
  readonly file: string;
}

/** Reads a topology whose images and modules need not be there. @throws Error with what is wrong */
export function topologyOfText(text: string, file = '/topologies/test.yaml'): TopologyOfText {
  const { topology, diagnostics } = parseTopology(text, file, {
    resolve: (name) => resolve(dirname(file), name),
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });
  if (topology === undefined) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  return { topology, text, file };
}

const yamlFiles = (folder: string): readonly string[] =>
  existsSync(folder)
    ? readdirSync(folder, { recursive: true })
        .map((name) => join(folder, String(name)))
        .filter((file) => file.endsWith('.yaml'))
        .sort()
    : [];

/** Every topology that the project ships. */
export const shippedTopologies = (): readonly string[] =>
  ['deploy/topologies', 'examples']
    .flatMap((folder) => yamlFiles(join(root, folder)))
    .filter((file) => /^(vms|board):/m.test(readFileSync(file, 'utf8')));

export const readShipped = (file: string): TopologyOfText => topologyOfText(readFileSync(file, 'utf8'), file);

/** Whether a topology is within the limits of the reference. */
export const isWithinLimits = ({ topology, text, file }: TopologyOfText): boolean =>
  exportBao(topology, text, { file, label: basename(file), relocate: (path) => path }).ok;

/** @throws Error with what stands against the export */
export function exportOf({ topology, text, file }: TopologyOfText, options: Partial<ExportOptions> = {}): BaoExport {
  const exported = exportBao(topology, text, { file, label: basename(file), relocate: (path) => path, ...options });
  if (!exported.ok) throw new Error(exported.error.map(({ message }) => message).join('\n'));
  return exported.value;
}

export const fileOf = ({ files }: BaoExport, name: string): string =>
  files.find((candidate) => candidate.name === name)?.text ?? '';
