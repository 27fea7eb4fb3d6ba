import { type Logger, pino, stdTimeFunctions } from 'pino';

/** The log of a process: a line of JSON for each event on standard error, with the time and the level in words. */
export const logger = (name: string): Logger =>
  pino(
    { base: { name }, timestamp: stdTimeFunctions.isoTime, formatters: { level: (level) => ({ level }) } },
    pino.destination({ dest: 2, sync: true }),
  );
