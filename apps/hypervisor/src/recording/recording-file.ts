import { closeSync, openSync, writeSync } from 'node:fs';
import type { Topology } from '@remio/topology';
import { type PlatformHost, remioConfigOf, type SteppedCore } from '../platform/index.js';
import { Recorder } from './recorder.js';

/** Characters that are gathered before they are written: more is never kept. */
const BUFFER = 64 * 1024;

/**
 * A recording in a file, written while the platform runs. Writes are synchronous: a disk that is slower than the platform
 * slows it, and nothing piles up.
 */
export class RecordingFile {
  readonly #recorder: Recorder;
  readonly #onError: (message: string) => void;
  readonly #path: string;
  /** Undefined once it is closed, or failed. */
  #file: number | undefined;
  #buffer = '';
  #core: SteppedCore | undefined;

  private constructor(path: string, file: number, topology: Topology, onError: (message: string) => void) {
    this.#path = path;
    this.#file = file;
    this.#onError = onError;
    const { name, arch, profile } = topology;
    this.#recorder = new Recorder({ name, arch, profile, config: remioConfigOf(topology) });
    this.#buffer = this.#recorder.head();
  }

  /**
   * @param onError told once if the file cannot be written any more; the platform goes on unrecorded
   * @throws Error that says why the file cannot be made
   */
  static create(path: string, topology: Topology, onError: (message: string) => void): RecordingFile {
    try {
      return new RecordingFile(path, openSync(path, 'w'), topology, onError);
    } catch (error) {
      throw new Error(`cannot record to ${path}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }

  /** Takes a step of the platform. */
  readonly onStep: NonNullable<PlatformHost['onStep']> = (input, effects, core) => {
    if (this.#file === undefined) return;
    this.#core = core;
    this.#buffer += this.#recorder.step(input, effects, core);
    if (this.#buffer.length >= BUFFER) this.flush();
  };

  /** Writes what was gathered. */
  flush(): void {
    if (this.#file === undefined || this.#buffer === '') return;
    try {
      writeSync(this.#file, this.#buffer);
    } catch (error) {
      this.#file = undefined;
      this.#onError(`${this.#path} is not written any more: ${error instanceof Error ? error.message : String(error)}`);
    }
    this.#buffer = '';
  }

  /** Writes the final state and closes the file. */
  close(): void {
    if (this.#core !== undefined) this.#buffer += this.#recorder.end(this.#core.data);
    this.flush();
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }
}
