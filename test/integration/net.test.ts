import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Namespace, networkProblem, tapNames } from './network-host.js';
import { RunningRemio, remio, root } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-net-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const problem = networkProblem();
if (problem !== undefined) console.log(`skipped: ${problem}`);

/** A shipped topology with other names in it. */
function topology(name: string, replacements: Readonly<Record<string, string>>): string {
  let text = readFileSync(join(root, 'deploy', 'topologies', `${name}.yaml`), 'utf8');
  for (const [from, to] of Object.entries(replacements)) text = text.replaceAll(from, to);
  const path = join(scratch, `${Object.values(replacements).join('-').replaceAll('/', '_')}.yaml`);
  writeFileSync(path, text);
  return path;
}

/** What `iperf3 --json` says of a run over TCP. */
interface Iperf {
  readonly error?: string;
  readonly end: { readonly sum_received: { readonly bytes: number } };
}

/** Sends over TCP for two seconds; gives the bytes that arrived. */
async function iperf(client: Namespace, server: Namespace, address: string, ...options: string[]): Promise<number> {
  const listening = await server.start(/Server listening/, 'iperf3', '--server', '--one-off', '--forceflush');
  try {
    const said = await client.exec('iperf3', '--client', address, '--time', '2', '--json', ...options);
    const result = JSON.parse(said) as Iperf;
    expect(result.error).toBeUndefined();
    return result.end.sum_received.bytes;
  } finally {
    listening.kill();
  }
}

/**
 * Boots a topology, puts its two TAP interfaces into namespaces of their own, and lets a test use them. Whatever happens,
 * nothing is left behind.
 */
async function between(
  file: string,
  taps: readonly string[],
  drivers: number,
  use: (a: Namespace, b: Namespace) => Promise<void>,
): Promise<void> {
  const platform = new RunningRemio(['up', file, '--json']);
  const namespaces: Namespace[] = [];
  try {
    for (let n = 0; n < drivers; n += 1) {
      const seen = new Set<string>();
      await platform.line((line) => line.includes('"kind":"tap"') && seen.add(line).size > n);
    }
    for (const [n, tap] of taps.entries()) namespaces.push(await Namespace.of(tap, `10.77.0.${n + 1}/24`));
    const [a, b] = namespaces;
    if (a === undefined || b === undefined) throw new Error('two namespaces');
    await use(a, b);
  } finally {
    platform.process.kill('SIGTERM');
    await platform.ended;
    for (const namespace of namespaces) await namespace.remove();
  }
}

describe.skipIf(problem !== undefined)('real programs', () => {
  it('reach each other through a frontend TAP, the drivers and a backend TAP, without loss', async () => {
    const [backend = '', frontend = ''] = tapNames(2);
    const file = topology('tap-riscv64', { remio0: backend, remio1: frontend });
    await between(file, [frontend, backend], 1, async (a, b) => {
      const ping = await a.exec('ping', '-q', '-c', '1000', '-i', '0.002', '10.77.0.2');
      expect(ping).toContain('1000 packets transmitted, 1000 received, 0% packet loss');
      expect(await a.exec('ping', '-q', '-c', '20', '-i', '0.002', '-s', '1472', '-M', 'do', '10.77.0.2')).toContain(
        '20 received, 0% packet loss',
      );
      expect(await iperf(a, b, '10.77.0.2')).toBeGreaterThan(1e6);
      expect(await iperf(a, b, '10.77.0.2', '--reverse')).toBeGreaterThan(1e6);
    });
  });

  it('reach each other through two frontend VMs and the switch; tshark reads its capture', async () => {
    const [first = '', second = ''] = tapNames(2);
    const capture = join(scratch, 'lan.pcapng');
    const file = topology('lan-taps-aarch64', { remio0: first, remio1: second, 'lan0.pcapng': capture });
    await between(file, [first, second], 2, async (a, b) => {
      const ping = await a.exec('ping', '-q', '-c', '1000', '-i', '0.002', '10.77.0.2');
      expect(ping).toContain('1000 packets transmitted, 1000 received, 0% packet loss');
      const read = execFileSync('tshark', ['-r', capture, '-Y', 'icmp', '-T', 'fields', '-e', 'icmp.type'], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
        maxBuffer: 1 << 26,
      });
      const types = read.trim().split('\n');
      expect([types.filter((type) => type === '8').length, types.filter((type) => type === '0').length]).toEqual([
        1000, 1000,
      ]);
      expect(await iperf(a, b, '10.77.0.2')).toBeGreaterThan(1e6);
      expect(await iperf(a, b, '10.77.0.2', '--reverse')).toBeGreaterThan(1e6);
    });
  });

  it('are told what is wrong with an interface', async () => {
    const [backend = ''] = tapNames(1);
    const file = topology('tap-riscv64', { remio0: backend, remio1: 'lo' });
    const ended = await remio('up', file, '--until-done');
    expect(ended.code).toBe(1);
    expect(ended.stdout).toContain('TAP interface lo: there is an interface of that name that is no TAP');
  });
});
