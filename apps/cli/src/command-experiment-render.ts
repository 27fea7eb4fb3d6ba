import { shippedFile } from '@remio/experiments';
import { renderKubernetesSweep } from './deploy/sweep-kubernetes.js';
import { planSweep, type SweepEngine, type SweepOptions } from './deploy/sweep-plan.js';
import { renderSwarmSweep } from './deploy/sweep-swarm.js';
import { writeRendered } from './deploy/write-rendered.js';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { planOfFile } from './experiment-folders.js';

export interface RenderSweepOptions extends SweepOptions {
  readonly output: string;
  readonly json: boolean;
}

/** `remio experiment render ENGINE EXPERIMENT`: writes what an engine needs to make an experiment's shards, and to gather them. */
export function renderExperiment(engine: SweepEngine, experiment: string, options: RenderSweepOptions): ExitCode {
  const plan = planOfFile(shippedFile(experiment) ?? experiment, options.quick);
  const sweep = planSweep(plan, engine, options);
  if (!sweep.ok) throw new CommandError(sweep.error, EXIT.USAGE);
  const files = engine === 'swarm' ? renderSwarmSweep(sweep.value) : renderKubernetesSweep(sweep.value);
  writeRendered(files, options);
  return EXIT.OK;
}
