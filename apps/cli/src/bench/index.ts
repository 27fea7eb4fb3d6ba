import { CommandError, EXIT, type ExitCode } from '../exit-codes.js';
import { Progress } from '../progress.js';
import { renderBench } from './bench.js';
import { BENCHES } from './list.js';

export interface BenchOptions {
  /** Fewer and shorter runs. */
  readonly quick: boolean;
  readonly json: boolean;
}

const RUNS = 5;
const QUICK_RUNS = 3;

/** `remio bench`: figures as ratios against a floor that is measured in the same run. */
export async function bench(what: string, { quick, json }: BenchOptions): Promise<ExitCode> {
  const chosen = BENCHES.find(({ name }) => name === what);
  if (chosen === undefined) {
    const names = BENCHES.map(({ name }) => name).join(', ');
    throw new CommandError(`no benchmark is called ${what}; there are ${names}`, EXIT.USAGE);
  }
  const runs = quick ? QUICK_RUNS : RUNS;
  const progress = new Progress(runs, { json });
  try {
    const result = await (await chosen.load()).measure({ quick, runs, progress });
    progress.clear();
    console.log(json ? JSON.stringify(result.data) : renderBench(result));
  } finally {
    progress.clear();
  }
  return EXIT.OK;
}
