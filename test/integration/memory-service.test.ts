import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '@remio/base';
import { afterAll, describe, expect, it } from 'vitest';
import { FarHosts } from './far-hosts.js';
import { remio, reportsOf, root } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-far-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const disk = new Uint8Array(1 << 20);
new Prng(5).fill(disk);
const sha256 = createHash('sha256').update(disk).digest('hex');
let copies = 0;

/** A copy of the disk. */
function image(): string {
  copies += 1;
  const path = join(scratch, `disk${copies}.img`);
  writeFileSync(path, disk);
  return path;
}

/** A shipped topology with other text in it. */
function topology(name: string, ...replacements: readonly (readonly [string | RegExp, string])[]): string {
  let text = readFileSync(join(root, 'deploy', 'topologies', `${name}.yaml`), 'utf8');
  for (const [from, to] of replacements) text = text.replaceAll(from, to);
  copies += 1;
  const path = join(scratch, `${name}${copies}.yaml`);
  writeFileSync(path, text);
  return path;
}

const SERVICE = [/(\n {2}\w+: \{ size: \w+) \}/g, '$1, via: service }'] as const;

/** What a disk must have said when all went well, and what it may have cost. */
function expectVerified(verified: Readonly<Record<string, unknown>>, cost: Readonly<Record<string, unknown>>): void {
  expect(verified).toMatchObject({ sha256, mismatches: 0, failed: 0 });
  const { requests } = verified['counters'] as { readonly requests: number };
  // A request alone: one exchange brings it, one takes the answer and looks again. Those that come together share them.
  expect(cost['fetches']).toBeLessThan(2.1 * requests + 20);
  expect(cost['writes']).toBeLessThan(1.1 * requests + 20);
}

describe('memory that is reached through the hypervisor', () => {
  it.each(['riscv64', 'aarch64'])('%s: a disk is read and written as through a mapping', async (arch) => {
    const file = topology(`demo-${arch}`, SERVICE);
    const images = ['--image', `disk0=${image()}`, '--image', `disk1=${image()}`];
    const ended = await remio('up', file, ...images, '--until-done', '--json');
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    for (const device of ['disk0', 'disk1']) {
      const [verified] = reportsOf(ended, 'blk-verify').filter((report) => report['device'] === device);
      const cost = reportsOf(ended, 'memory-service').findLast((report) => report['device'] === device);
      expectVerified(verified ?? {}, cost ?? {});
    }
  });

  it('stations on a switch ping each other, and datagrams arrive', async () => {
    const slow = [/count: 1000, interval: 2ms/g, 'count: 100, interval: 5ms'] as const;
    const ended = await remio('up', topology('lan-aarch64', SERVICE, slow), '--until-done', '--json');
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    const answered = reportsOf(ended, 'ping').map(({ device, received, lost }) => [device, received, lost]);
    expect(answered.sort()).toEqual([
      ['net0', 100, 0],
      ['net1', 200, 0],
    ]);
    expect(reportsOf(ended, 'station-ended').map(({ datagrams }) => datagrams)).toContain(1000);
    expect(reportsOf(ended, 'memory-service').length).toBeGreaterThan(0);
  });
});

describe('processes that were started by hand', () => {
  /** Runs a disk between a backend and a frontend, each with a run directory or none. */
  async function run(backendHas: boolean, frontendHas: boolean, killed = false): Promise<FarHosts> {
    const hosts = new FarHosts();
    const file = topology('demo-riscv64');
    const images = ['--image', `disk0=${image()}`, '--image', `disk1=${image()}`];
    copies += 1;
    const directory = join(scratch, `run${copies}`);
    mkdirSync(directory);
    const endpoint = `ipc://${directory}/hypervisor.sock`;
    const common = ['--topology', file, ...images];
    const shared = (has: boolean): readonly string[] => (has ? ['--run-dir', directory] : []);
    await hosts.start('hypervisor', [...common, '--endpoint', endpoint, '--run-dir', directory]);
    await hosts.start('watcher', [endpoint]);
    await hosts.start('backend', [...common, '--connect', endpoint, '--vm', 'backend', ...shared(backendHas)]);
    const start = () =>
      hosts.start('frontend', [...common, '--connect', endpoint, '--vm', 'guest0', ...shared(frontendHas)]);
    const frontend = await start();
    if (!killed) return hosts;
    // In the midst of its requests.
    await hosts.report((seen) => seen.event['kind'] === 'queues' && seen.event['device'] === 'disk0');
    frontend.kill('SIGKILL');
    await hosts.report((seen) => seen.event['kind'] === 'lost');
    expect(hosts.last('blk-verify')).toBeUndefined();
    await start();
    return hosts;
  }

  it.each([
    ['neither shares memory', false, false],
    ['the backend is elsewhere', false, true],
    ['the frontend is elsewhere', true, false],
  ])('%s: the memory service takes the place of the mapping', async (_, backendHas, frontendHas) => {
    const hosts = await run(backendHas, frontendHas);
    try {
      const { event } = await hosts.report((seen) => seen.event['kind'] === 'blk-verify');
      expect(event).toMatchObject({ sha256, mismatches: 0, failed: 0 });
      await hosts.report((seen) => seen.event['kind'] === 'memory-service');
    } finally {
      await hosts.stop();
    }
  });

  it('a frontend that was killed, and its memory with it, is replaced: the device starts over in the new one', async () => {
    const hosts = await run(false, false, true);
    try {
      const { event } = await hosts.report((seen) => seen.event['kind'] === 'blk-verify');
      expect(event).toMatchObject({ mismatches: 0, failed: 0 });
    } finally {
      await hosts.stop();
    }
  });

  it('both share the memory: they map it', async () => {
    const hosts = await run(true, true);
    try {
      const { event } = await hosts.report((seen) => seen.event['kind'] === 'blk-verify');
      expect(event).toMatchObject({ sha256, mismatches: 0, failed: 0 });
      expect(hosts.last('memory-service')).toBeUndefined();
    } finally {
      await hosts.stop();
    }
  });

  it('an endpoint that other hosts reach is refused as long as nothing protects it', async () => {
    const hosts = new FarHosts();
    const started = hosts.start('hypervisor', ['--topology', topology('lan-aarch64'), '--endpoint', 'tcp://0.0.0.0:0']);
    await expect(started).rejects.toThrow('nothing on it is encrypted or authenticated');
    await hosts.stop();
  });
});
