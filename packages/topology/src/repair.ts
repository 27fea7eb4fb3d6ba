import type { Path } from './path.js';

/** How a file is put right where there is one way to: becomes changes of its text. */
export type Repair =
  /** The value at `path`, a scalar, becomes `value`. */
  | { readonly kind: 'set'; readonly path: Path; readonly value: string }
  /** The last step of `path`, a key, becomes `key`. */
  | { readonly kind: 'rename'; readonly path: Path; readonly key: string }
  /** Two values change places, with the comments behind them on their lines. */
  | { readonly kind: 'swap'; readonly a: Path; readonly b: Path };
