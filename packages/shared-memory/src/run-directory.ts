import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where memory is shared on Linux. */
const SHM = '/dev/shm';
const PREFIX = 'remio-';
/** A directory of ours has the process in its name. */
const NAME = /^remio-([1-9]\d*)-/;
const OWNER = 'owner';

/**
 * Whether memory can be shared between processes here; if not, why, and what to do.
 * @param instead what needs no shared memory
 */
export function sharedMemoryProblem(instead = 'use --engine inproc'): string | undefined {
  if (process.platform !== 'linux') {
    return `shared memory between processes needs Linux; on ${process.platform} ${instead}`;
  }
  return existsSync(SHM) ? undefined : `there is no ${SHM}; mount a tmpfs there, or ${instead}`;
}

/** Whether a process lives. */
function alive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/**
 * A directory per run, readable by its owner only: shared memories, sockets and logs lie there, and nothing of it
 * outlives the run.
 */
export class RunDirectory {
  static #made = 0;
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /**
   * Makes the directory of this process, after clearing away those of runs that were killed.
   * @param base where it lies; for files that are no shared memory, a directory on a disk
   */
  static create(base = SHM): RunDirectory {
    RunDirectory.removeStale(base);
    RunDirectory.#made += 1;
    const path = join(base, `${PREFIX}${process.pid}-${Date.now().toString(36)}-${RunDirectory.#made}`);
    mkdirSync(path, { mode: 0o700 });
    writeFileSync(join(path, OWNER), String(process.pid), { mode: 0o600 });
    return new RunDirectory(path);
  }

  /** Removes directories whose owner is gone; returns how many there were. */
  static removeStale(base = SHM): number {
    let removed = 0;
    for (const name of readdirSync(base)) {
      const [, maker] = NAME.exec(name) ?? [];
      if (maker === undefined) continue;
      const path = join(base, name);
      try {
        const owner = Number(readFileSync(join(path, OWNER), 'utf8'));
        if (owner > 0 && alive(owner)) continue;
      } catch {
        // Without an owner file it was left half made or half removed; a fresh one belongs to a start under way.
        if (alive(Number(maker))) continue;
      }
      rmSync(path, { recursive: true, force: true });
      removed += 1;
    }
    return removed;
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
