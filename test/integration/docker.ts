import { spawnSync } from 'node:child_process';

/** Runs the Docker client; gives its exit code and what it printed. */
export const docker = (...args: readonly string[]): { readonly code: number | null; readonly out: string } => {
  const { status, stdout, stderr } = spawnSync('docker', args, { encoding: 'utf8' });
  return { code: status, out: `${stdout}${stderr}`.trim() };
};

/** Whether there is an engine for the tests of this; in CI there must be. */
export function hasEngine(what: string): boolean {
  const works = docker('info').code === 0;
  if (!works && process.env['CI'] === undefined) console.warn(`${what}: left out, no Docker engine answers here`);
  return works || process.env['CI'] !== undefined;
}
