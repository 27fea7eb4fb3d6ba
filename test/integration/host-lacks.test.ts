import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type Ended, main, root } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const isRoot = process.getuid?.() === 0;
if (!isRoot && process.env['CI'] === undefined) console.warn('what a host lacks: left out, only root can take it away');

/** Runs `remio` on a host that lacks something; the rest of its arguments is a command. */
function remioWith(lack: readonly string[], ...args: readonly string[]): Promise<Ended> {
  const [program = '', ...rest] = [...lack, process.execPath, main, ...args];
  const child = spawn(program, rest, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, stdout, stderr })));
}

/** In a mount namespace of its own, where /dev/shm has so much room. */
const withShm = (size: string): readonly string[] => [
  ...['unshare', '--mount', 'sh', '-c'],
  `mount -t tmpfs -o size=${size} tmpfs /dev/shm && exec "$@"`,
  'sh',
];

const topology = (name: string): string => join(root, 'deploy', 'topologies', `${name}.yaml`);

describe.skipIf(!isRoot && process.env['CI'] === undefined)('on a host that lacks', () => {
  it('room for shared memory: exit code 3, and how much there is and would have to be', async () => {
    const image = join(scratch, 'disk.img');
    writeFileSync(image, new Uint8Array(1 << 20));
    const ended = await remioWith(withShm('4m'), 'up', topology('ping-riscv64'), '--image', image, '--until-done');
    expect(ended.code).toBe(3);
    expect(ended.stderr).toMatch(
      /\/dev\/shm\/\S+ has [34]\.\d MiB free.*shared memories of the topology have 16\.0 MiB/,
    );
    expect(ended.stderr).not.toMatch(/^ +at /m);
  });

  it('the permission to make a TAP interface: what to do, and no stack trace', async () => {
    const file = join(scratch, 'tap.yaml');
    const text = readFileSync(topology('tap-riscv64'), 'utf8');
    writeFileSync(file, text.replace('remio0', `rm${process.pid}`));
    const bound = ['setpriv', '--bounding-set', '-net_admin', '--inh-caps', '-net_admin'];
    const ended = await remioWith(bound, 'up', file, '--until-done');
    expect(ended.code).toBe(1);
    expect(ended.stdout).toContain('no permission (EPERM); run with CAP_NET_ADMIN, or let root make it');
    expect(ended.stdout).not.toContain('at file:');
  });
});
