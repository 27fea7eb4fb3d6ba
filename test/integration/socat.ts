import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import { createReadStream, existsSync, statSync, writeFileSync } from 'node:fs';

/** Whether socat is there; where it must be, in CI, it always counts as there. */
export const hasSocat = process.env['CI'] !== undefined || spawnSync('socat', ['-V']).error === undefined;

if (!hasSocat) console.warn('socat is missing: its tests are skipped (apt install socat)');

/** socat with these arguments, for a test to wait for or to end. */
export class Socat {
  readonly process: ChildProcess;
  /** Its exit code and what it complained of. */
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>;

  constructor(...args: readonly string[]) {
    this.process = spawn('socat', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let stderr = '';
    this.process.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    this.ended = new Promise((resolve, reject) => {
      this.process.once('error', reject);
      this.process.once('close', (code) => resolve({ code, stderr }));
    });
  }

  kill(): Promise<unknown> {
    this.process.kill('SIGTERM');
    return this.ended;
  }
}

/** Makes a file of random bytes; returns its path. */
export function randomFile(path: string, bytes: number): string {
  writeFileSync(path, randomFillSync(new Uint8Array(bytes)));
  return path;
}

/** SHA-256 of a file, hexadecimal. */
export async function sha256(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest('hex');
}

/** Waits until something outside this process holds; vitest ends a test that waits for ever. */
export async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Waits until a file is that long. */
export const untilLong = (path: string, bytes: number): Promise<void> =>
  until(() => existsSync(path) && statSync(path).size >= bytes);
