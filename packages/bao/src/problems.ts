import type { Place } from '@remio/topology';

/** Rules of the export, with what each says. docs/bao.md explains them to users. */
export const EXPORT_RULES = {
  'bao-board': 'Bao has a platform for the board.',
  'bao-memory': 'A VM has memory, which its image is loaded to; one without any gets 64 MiB.',
  'bao-cpus': 'CPUs of a VM are among the first 64: Bao\u2019s maps of CPUs have so many bits.',
  'bao-limits': 'Bind keys and interrupts fit the eight bits that Bao\u2019s messages have for them.',
  'bao-window': 'No window ends where a later one of its VM starts: Bao sends the first byte to the wrong device.',
  'bao-dispatcher':
    'A VM has at most 16 backend ends, before its frontend ends: Linux\u2019s I/O dispatcher counts backends only.',
  'bao-device-model': 'Bao\u2019s device model has the device, with its options.',
} as const;

export type ExportRule = keyof typeof EXPORT_RULES;

/** What stands against an export, or is to be known of it. */
export interface ExportProblem {
  readonly severity: 'error' | 'warning';
  readonly rule: ExportRule;
  readonly file: string;
  readonly place: Place;
  readonly path: string;
  readonly message: string;
  readonly fix: string;
}

/** Something that an import had to assume, could not express, or found wrong. */
export interface ImportNote {
  /** `lost`: Remio's topologies have no place for it. `wrong`: the reference would not start so, or not work. */
  readonly kind: 'assumed' | 'lost' | 'wrong';
  readonly file: string;
  readonly place: Place | undefined;
  readonly message: string;
}

/** Why a file cannot be imported: where, and what to do. */
export interface ImportError {
  readonly file: string;
  readonly place: Place | undefined;
  readonly message: string;
}

/** A note or error as compilers write it. */
export const showImport = ({ file, place, message }: ImportError, kind: string): string =>
  `${file}${place === undefined ? '' : `:${place.line}:${place.column}`}: ${kind}: ${message}`;

/** Leaves an import with what is wrong; caught where the import starts. */
export class ImportFailure extends Error {
  override readonly name = 'ImportFailure';
  constructor(readonly reason: ImportError) {
    super(reason.message);
  }
}
