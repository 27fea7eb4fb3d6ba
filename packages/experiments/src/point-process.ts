import type { Done, Job } from './pool.js';
import { PointFailed, runPoint } from './run-point.js';

// Ends with whoever started it. Ctrl-C in a terminal is for the command to handle.
process.on('disconnect', () => process.exit(0));
process.on('SIGINT', () => {});

const make = async ({ settings, seed, factors }: Job): Promise<Done> => {
  try {
    return { ok: true, outcome: await runPoint(settings, seed, factors) };
  } catch (error) {
    // What is our own mistake ends the process, with all that is known of it.
    if (!(error instanceof PointFailed)) throw error;
    return { ok: false, reason: error.message };
  }
};

process.on('message', (job: Job) => {
  make(job).then(
    (done) => process.send?.(done),
    (error: unknown) => {
      console.error(error instanceof Error ? error.stack : error);
      process.exit(1);
    },
  );
});
