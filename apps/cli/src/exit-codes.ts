/** What the exit code of `remio` says. Documented in docs/command.md. */
export const EXIT = {
  /** Everything asked for was done. */
  OK: 0,
  /** It ran, and the answer is no: a verification, a vector or a target failed. */
  FAILED: 1,
  /** What was given is wrong: arguments, topology, image, recording. Nothing was started. */
  USAGE: 2,
  /** The host lacks something or something is in use: a port, shared memory, a lock, a process that ended. */
  ENVIRONMENT: 3,
  /** Stopped by SIGINT (128 + 2) or SIGTERM (128 + 15). */
  SIGINT: 130,
  SIGTERM: 143,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** A mistake of the operator's or the host's: shown as its message, without a stack trace. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  constructor(
    message: string,
    readonly exitCode: ExitCode,
  ) {
    super(message);
  }
}
