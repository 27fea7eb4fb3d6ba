import { Argument, type Command } from 'commander';
import type { ExperimentOptions } from './command-experiment.js';
import type { RenderSweepOptions } from './command-experiment-render.js';
import type { GatherOptions } from './command-gather.js';
import type { SWEEP_ENGINES, SweepEngine } from './deploy/sweep-plan.js';
import type { ExitCode } from './exit-codes.js';
import { positive, shardOf, words } from './option-values.js';

/** What every command takes that makes runs. */
const runs = (command: Command): Command =>
  command
    .option('--out <DIR>', 'where results go; ./remio-results/NAME if absent')
    .option('--parallel <N>', 'runs at a time; the cores there are if absent', positive)
    .option('--shard <I/N>', 'make only this part of the runs; `gather` puts all N together', shardOf)
    .option('--no-sensitivity', 'leave out what the conclusion hangs on')
    .option('--quick', 'a small size, to see that it works: its figures say nothing', false)
    .option('--json', 'the results as JSON', false);

/**
 * Adds `remio experiment` and what is below it.
 * @param done told how a command ended
 */
export function experimentCommands(program: Command, done: (code: ExitCode) => void): void {
  const experiments = runs(
    program
      .command('experiment [FILE]')
      .description(
        'run a scaling experiment, in virtual time or on the wall clock, and write a report (docs/experiments.md)',
      ),
  )
    .option('--resume <DIR>', 'go on with an experiment that was stopped')
    .enablePositionalOptions()
    .addHelpText(
      'after',
      '\nExamples:\n  remio experiment run backend-structure\n  remio experiment my-experiment.yaml',
    )
    .action(async (file: string | undefined, options: ExperimentOptions) => {
      const { experiment } = await import('./command-experiment.js');
      done(await experiment(file, options));
    });

  runs(experiments.command('run <NAME>').description('run an experiment that comes with Remio')).action(
    async (name: string, options: ExperimentOptions) => {
      const { shippedExperiment } = await import('./command-experiment.js');
      done(await shippedExperiment(name, options));
    },
  );

  experiments
    .command('list')
    .description('show the experiments that come with Remio')
    .option('--json', 'as JSON', false)
    .action(async (options: { readonly json: boolean }) => {
      const { listExperiments } = await import('./command-experiment.js');
      listExperiments(options.json);
    });

  experiments
    .command('gather <DIR...>')
    .description('put the shards of an experiment together: what one run of it would have made, with one report')
    .option('--out <DIR>', 'where that goes; ./remio-results/NAME if absent')
    .option('--json', 'the results as JSON', false)
    .addHelpText(
      'after',
      '\nExample:\n  remio experiment run boards --shard 1/2 --out one; remio experiment run boards --shard 2/2 --out two\n  remio experiment gather one two',
    )
    .action(async (directories: readonly string[], options: GatherOptions) => {
      const { gatherShards } = await import('./command-gather.js');
      done(await gatherShards(directories, options));
    });

  experiments
    .command('render')
    .description('write files with which a cluster makes the shards of an experiment, and gathers them')
    .addArgument(
      new Argument('<ENGINE>', 'what they are for').choices(words<typeof SWEEP_ENGINES>('swarm', 'kubernetes')),
    )
    .argument('<EXPERIMENT>', 'its file, or the name of one that comes with Remio')
    .requiredOption('--shards <N>', 'parts, each made by a container', positive)
    .option('-o, --output <DIRECTORY>', 'write there', '.')
    .option('--parallel <N>', 'runs at a time in each, and so the CPUs that it gets', positive, 1)
    .option('--no-sensitivity', 'leave out what the conclusion hangs on')
    .option('--quick', 'a small size, to see that it works: its figures say nothing', false)
    .option('--json', 'what was written, as JSON', false)
    .addHelpText('after', '\nExample:\n  remio experiment render kubernetes frontends --shards 8 -o frontends')
    .action(async (engine: SweepEngine, experiment: string, options: RenderSweepOptions) => {
      const { renderExperiment } = await import('./command-experiment-render.js');
      done(renderExperiment(engine, experiment, options));
    });

  experiments
    .command('compare <A> <B>')
    .description('what changed between two folders of results, with confidence intervals')
    .option('--json', 'as JSON', false)
    .action(async (from: string, to: string, options: { readonly json: boolean }) => {
      const { compareExperiments } = await import('./command-experiment.js');
      done(compareExperiments(from, to, options.json));
    });
}
