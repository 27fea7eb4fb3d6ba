/**
 * Why a program cannot do its work: something for people, such as what its host lacks or a device answered. A VM that ends
 * with one says its message; with any other error it says where in the program that was thrown.
 */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
}

/** What a VM says of an error that ended its program. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof ProgramError ? error.message : (error.stack ?? error.message);
}
