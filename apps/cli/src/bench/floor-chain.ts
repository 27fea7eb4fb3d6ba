import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { CommandError, EXIT } from '../exit-codes.js';
import { scratchDirectory } from '../running-platform.js';
import { PINNED_CPU } from './bench.js';

/** What the chain of processes without our code did. */
export interface FloorFigures {
  /** Nanoseconds of one trip of a frame to the back and back again. */
  readonly p50: number;
  readonly p99: number;
  /** Frames that came back, a second. */
  readonly perSecond: number;
}

export interface FloorOptions {
  /** Frames to send, one after the other. */
  readonly count: number;
  /** Bytes of each. */
  readonly bytes: number;
  /** Whether all three processes run on one CPU. */
  readonly pinned: boolean;
}

/** The chain of frontend, hypervisor and backend on the same sockets, without our code. */
export async function measureFloor({ count, bytes, pinned }: FloorOptions): Promise<FloorFigures> {
  const scratch = scratchDirectory();
  const endpoint = `ipc://${join(scratch.path, 'floor.sock')}`;
  const children: ChildProcess[] = [];
  const start = (role: string): ChildProcess => {
    const node = [
      process.execPath,
      join(import.meta.dirname, 'floor.js'),
      role,
      endpoint,
      ...[bytes, count].map(String),
    ];
    const [command = '', ...args] = pinned ? ['taskset', '-c', String(PINNED_CPU), ...node] : node;
    const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    children.push(child);
    return child;
  };
  const ready = (child: ChildProcess): Promise<unknown> =>
    new Promise((resolve, reject) => {
      child.once('message', resolve);
      child.once('exit', () => reject(new CommandError('a process of the floor ended early', EXIT.ENVIRONMENT)));
      child.once('error', (error) => reject(new CommandError(`taskset: ${error.message}`, EXIT.ENVIRONMENT)));
    });
  try {
    await ready(start('hub'));
    await ready(start('back'));
    return (await ready(start('front'))) as FloorFigures;
  } finally {
    for (const child of children) child.kill('SIGKILL');
    scratch.remove();
  }
}
