import type { RuleId } from './rules/index.js';

/** What a device's or driver's options are made with. */
export interface EndContext {
  /** Name of the device. */
  readonly name: string;
  /** Makes an absolute path of one that the file names. */
  resolve(path: string): string;
  /** Images by device name, or for every device under `*`: instead of what the file names. */
  readonly images?: Readonly<Record<string, string>>;
}

/** What the check asks of the outside: kept apart so that the rest is a function of the text. */
export interface TopologyFiles {
  /** What is wrong with a disk image; undefined: nothing. */
  imageProblem(path: string, readOnly: boolean): string | undefined;
  /** What is wrong with a directory to be shared; undefined: nothing. */
  directoryProblem(path: string, readOnly: boolean): string | undefined;
  /** What is wrong with the path of a Unix socket to be listened on; undefined: nothing. Absent: nobody looks. */
  socketProblem?(path: string): string | undefined;
  exists(path: string): boolean;
}

/** What is wrong with the options of a device or driver. */
export interface EndProblem {
  readonly rule: RuleId;
  /** Field of the device or driver in the file. */
  readonly field: string;
  readonly message: string;
  readonly fix: string;
}
