import { STAR_PER_BACKEND_MAX, type StarOptions, type StarWork, starTopology } from '@remio/topology';
import { CommandError, EXIT } from './exit-codes.js';

/** Options as the command line gives them. */
export interface GenerateStarOptions {
  readonly arch: StarOptions['arch'];
  readonly frontends: number;
  readonly vcpus: number;
  readonly perBackend: number;
  readonly work: StarWork;
  readonly amount: number;
}

/** `remio generate star`: prints a topology of many frontends. */
export function generateStar(options: GenerateStarOptions): void {
  const inRange = (name: string, value: number, max: number): void => {
    if (value >= 1 && value <= max) return;
    throw new CommandError(`--${name} ${value}: expected a number from 1 to ${max}`, EXIT.USAGE);
  };
  inRange('frontends', options.frontends, 100_000);
  inRange('vcpus', options.vcpus, 1024);
  inRange('per-backend', options.perBackend, STAR_PER_BACKEND_MAX);
  inRange('amount', options.amount, 2 ** 40);
  process.stdout.write(starTopology(options));
}
