import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Prng } from '@remio/base';
import { afterAll, describe, expect, it } from 'vitest';
import { FarHosts } from './far-hosts.js';
import { Namespace, networkProblem, tapNames } from './network-host.js';
import { remio } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-ns-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const iptables = process.env['CI'] !== undefined || spawnSync('which', ['iptables']).status === 0;
const problem = networkProblem() ?? (iptables ? undefined : 'tests between hosts need iptables');
if (problem !== undefined) console.log(`skipped: ${problem}`);

const disk = new Uint8Array(256 * 1024);
new Prng(7).fill(disk);
const sha256 = createHash('sha256').update(disk).digest('hex');

const TOPOLOGY = `
name: far
board: qemu-riscv64-virt
shared_memories:
  disk0: { size: 1MiB }
vms:
  backend:
    cpus: 1
    memory: [{ base: 0x80000000, size: 1MiB }]
    remio_devs:
      - name: disk0
        type: backend
        bind_key: 0
        interrupt: 40
        shmem: { memory: disk0, base: 0xd0000000 }
        device: { type: block, image: disk.img }
  guest0:
    cpus: 1
    memory: [{ base: 0x10000000, size: 1MiB }]
    program: { builtin: blk-verify, options: { writes: 32, readSize: 32768 } }
    remio_devs:
      - name: disk0
        type: frontend
        bind_key: 0
        window: { base: 0xa003e00 }
        interrupt: 79
        shmem: { memory: disk0, base: 0xd0000000 }
`;

describe.skipIf(problem !== undefined)('a disk whose driver is on another host', () => {
  it.each([
    ['at once, in plain text', 0, 0, false],
    ['with 1 ms of delay, and 1% of the packets lost, with keys', 1, 0.01, true],
  ])(
    'is read and written over TCP between two network namespaces: %s',
    async (_, delay, loss, guarded) => {
      const file = join(scratch, 'far.yaml');
      writeFileSync(file, TOPOLOGY);
      writeFileSync(join(scratch, 'disk.img'), disk);
      const keys = join(scratch, 'keys');
      if (guarded) expect(await remio('keys', file, '-o', keys, '--write')).toMatchObject({ code: 0 });
      const keyOption = guarded ? ['--keys', keys] : [];
      const hosts = new FarHosts();
      const namespaces: Namespace[] = [];
      try {
        const [near = '', far = ''] = tapNames(2);
        await hosts.start('forwarder', [near, far, String(delay)]);
        const here = await Namespace.of(near, '10.78.0.1/24');
        namespaces.push(here);
        const there = await Namespace.of(far, '10.78.0.2/24');
        namespaces.push(there);
        // The way is as long as it is meant to be.
        const ping = await here.exec('ping', '-q', '-c', '3', '-i', '0.1', '10.78.0.2');
        expect(Number(/= ([\d.]+)\//.exec(ping)?.[1])).toBeGreaterThan(2 * delay);
        if (loss > 0) {
          const lose = ['-m', 'statistic', '--mode', 'random', '--probability', String(loss), '-j', 'DROP'];
          for (const [namespace, tap] of [
            [here, near],
            [there, far],
          ] as const) {
            expect(await namespace.exec('iptables', '-A', 'INPUT', '-i', tap, ...lose)).toBe('');
          }
        }
        const endpoint = 'tcp://10.78.0.1:5555';
        const vm = (name: string): readonly string[] => [
          ...['--topology', file, '--connect', endpoint, '--vm', name],
          ...keyOption,
        ];
        const protection = guarded ? keyOption : ['--plaintext'];
        await hosts.start('hypervisor', ['--topology', file, '--endpoint', endpoint, ...protection], here.name);
        await hosts.start('watcher', guarded ? [endpoint, keys] : [endpoint], here.name);
        await hosts.start('backend', vm('backend'), there.name);
        await hosts.start('frontend', vm('guest0'), here.name);
        const { event } = await hosts.report((seen) => seen.event['kind'] === 'blk-verify');
        expect(event).toMatchObject({ sha256, mismatches: 0, failed: 0 });
        await hosts.report((seen) => seen.event['kind'] === 'memory-service');
      } finally {
        await hosts.stop();
        for (const namespace of namespaces) await namespace.remove();
      }
    },
    60_000,
  );
});
