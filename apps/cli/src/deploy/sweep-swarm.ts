import { join } from 'node:path';
import { Document } from 'yaml';
import { CONTAINER, type RenderedFile } from './plan.js';
import {
  contentName,
  gatherCommand,
  MAIN_MIB,
  NODE_OPTIONS,
  RESULTS,
  RUN_MIB,
  type SweepPlan,
  shardCommand,
  shardMib,
  sweepMadeBy,
} from './sweep-plan.js';

type Service = Readonly<Record<string, unknown>>;

/** Threads of a Node process, with room. */
const PROCESS_PIDS = 32;

/** A stack for an experiment: a replicated job whose tasks make a shard each, and one that gathers them. */
export function renderSwarmSweep(plan: SweepPlan): readonly RenderedFile[] {
  const { shards, parallel } = plan.options;
  // The contents of a config never change: another file is another config.
  const configs = plan.files.map((file) => ({
    ...file,
    config: contentName(file.key.replaceAll('.', '-').slice(0, 40), file.text),
  }));
  const services = {
    shards: {
      ...service(shardCommand(plan), shardMib(plan), { replicas: shards, cpus: parallel, processes: 1 + parallel }),
      // Of a job's tasks the engine says 1, 2, ... and, of the one before those, its node's id.
      environment: { NODE_OPTIONS, REMIO_SLOT: '{{.Task.Slot}}' },
      configs: configs.map(({ config, path }) => ({ source: config, target: join(CONTAINER.topologyDirectory, path) })),
    },
    gather: service(gatherCommand(plan), MAIN_MIB + RUN_MIB, { replicas: 1, cpus: 1, processes: 2 }),
  };
  const document = new Document(
    {
      version: '3.9',
      services,
      configs: Object.fromEntries(configs.map(({ config, key }) => [config, { file: `./${key}` }])),
      volumes: { results: {} },
    },
    { version: '1.1', aliasDuplicateObjects: false },
  );
  document.commentBefore = ` ${sweepMadeBy('swarm', plan)}
 For clients of Docker 23.0 and later, and engines of 20.10 and later:
   docker stack deploy --resolve-image never -c stack.yaml ${plan.name}
 With several nodes the volume \`results\` has to be one that they share: docs/experiments.md tells how.`;
  return [
    { name: 'stack.yaml', text: document.toString({ lineWidth: 0 }) },
    ...plan.files.map(({ key, text }) => ({ name: key, text })),
  ];
}

interface Size {
  readonly replicas: number;
  readonly cpus: number;
  readonly processes: number;
}

const service = (command: readonly string[], mib: number, { replicas, cpus, processes }: Size): Service => ({
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the client replaces it.
  image: '${REMIO_IMAGE:-remio}',
  command,
  environment: { NODE_OPTIONS },
  read_only: true,
  cap_drop: ['ALL'],
  volumes: [{ type: 'volume', source: 'results', target: RESULTS }],
  deploy: {
    mode: 'replicated-job',
    replicas,
    // Started again, a shard goes on with what there is.
    restart_policy: { condition: 'on-failure', delay: '2s' },
    resources: {
      limits: { cpus: String(cpus), memory: `${mib}M`, pids: processes * PROCESS_PIDS },
      ...(replicas > 1 ? { reservations: { cpus: String(cpus), memory: `${mib}M` } } : {}),
    },
  },
});
