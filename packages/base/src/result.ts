/** A value or the reason why there is none. Guest mistakes and operator mistakes travel this way, never as exceptions. */
export type Result<T, E> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: E };

/** Wraps a value as a success. */
export const ok = <T>(value: T): { readonly ok: true; readonly value: T } => ({ ok: true, value });

/** Wraps a reason as a failure. */
export const err = <E>(error: E): { readonly ok: false; readonly error: E } => ({ ok: false, error });

/** A mistake of ours: always on, and it ends the process with what was expected. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/**
 * States what must hold whatever a guest, peer or operator does.
 * @throws AssertionError when it does not: the mistake is in this program.
 */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/**
 * Marks a branch that the types rule out.
 * @throws AssertionError when reached.
 */
export function unreachable(value: never, what: string): never {
  throw new AssertionError(`unreachable ${what}: ${String(value)}`);
}
