import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BUILTIN_PROGRAMS, imagesOf, loadTopology, type Topology } from '@remio/topology';
import { renderCompose } from './deploy/compose.js';
import { renderKubernetes } from './deploy/kubernetes.js';
import { clusterMisfits, type Engine, planDeployment, type RenderedFile } from './deploy/plan.js';
import { renderSwarm } from './deploy/swarm.js';
import { writeRendered } from './deploy/write-rendered.js';
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

/** Engines of containers that there are files for. */
export const ENGINES = ['compose', 'swarm', 'kubernetes'] as const satisfies readonly Engine[];

/** `remio deploy render ENGINE FILE`: writes what an engine of containers needs to run a topology. */
export function renderDeployment(engine: Engine, file: string, options: RenderOptions): ExitCode {
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
  const files =
    engine === 'compose'
      ? renderCompose(topology, { output, root: ROOT, images, diskSize: options.diskSize, ...keys })
      : renderCluster(engine, topology, { images, diskSize: options.diskSize });
  writeRendered(files, { output, json: options.json });
  return EXIT.OK;
}

/** @throws CommandError if the topology, or what is asked for, needs something of this host */
function renderCluster(
  engine: Exclude<Engine, 'compose'>,
  topology: Topology,
  { images, diskSize }: { readonly images: Readonly<Record<string, string>>; readonly diskSize: number },
): readonly RenderedFile[] {
  const [given] = Object.entries(images);
  if (given !== undefined) {
    const fix = 'leave it out, and copy the image into the volume in which its disk is made';
    throw new CommandError(
      `--image ${given.join('=')}: hosts of a cluster have no file of this one; ${fix}`,
      EXIT.USAGE,
    );
  }
  const misfits = clusterMisfits(planDeployment(topology, images, 'only where it must be'));
  if (misfits.length > 0) {
    const fix = 'Use `render compose`, or leave that out of the topology: hosts of a cluster have nothing of this one.';
    throw new CommandError(`${misfits.map((line) => `${topology.file}: ${line}`).join('\n')}\n${fix}`, EXIT.USAGE);
  }
  const cluster = { topologyText: readFileSync(topology.file, 'utf8'), diskSize };
  return engine === 'swarm' ? renderSwarm(topology, cluster) : renderKubernetes(topology, cluster);
}
