import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { docker, hasEngine } from './docker.js';
import { networkProblem, tapNames } from './network-host.js';
import { remio } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-compose-tap-'));
const PROJECT = `remio-tap-${process.pid}`;
const [tap = ''] = tapNames(1);

const problem = networkProblem();
if (problem !== undefined) console.warn(`TAP in containers: left out, ${problem}`);

const topology = `
name: compose-tap
board: qemu-aarch64-virt
shared_memories:
  net0: { size: 32MiB }
vms:
  lan:
    cpus: 1
    memory: [{ base: 0x80000000, size: 1MiB }]
    remio_devs:
      - name: net0
        type: backend
        bind_key: 0
        interrupt: 40
        shmem: { memory: net0, base: 0xd0000000 }
        device: { type: net, tap: ${tap} }
  guest0:
    cpus: 1
    memory: [{ base: 0x10000000, size: 1MiB }]
    remio_devs:
      - name: net0
        type: frontend
        bind_key: 0
        window: { base: 0xa003e00 }
        interrupt: 79
        shmem: { memory: net0, base: 0xd0000000 }
        driver: { type: netstack, ip: 10.79.0.2/24, linger: 600s }
`;

const compose = (...args: readonly string[]): string => {
  const files = ['-f', join(scratch, 'compose.yaml'), '-f', join(scratch, 'compose.tap.yaml')];
  const [command = '', ...before] =
    spawnSync('docker', ['compose', 'version']).status === 0 ? ['docker', 'compose'] : ['docker-compose'];
  return execFileSync(command, [...before, '-p', PROJECT, ...files, ...args], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, DOCKER_BUILDKIT: '0', REMIO_PROMETHEUS_PORT: '0' },
  });
};

describe.skipIf(!hasEngine('TAP in containers') || problem !== undefined)('compose.tap.yaml', () => {
  beforeAll(async () => {
    const file = join(scratch, 'topology.yaml');
    writeFileSync(file, topology);
    expect(await remio('deploy', 'render', 'compose', file, '-o', scratch)).toMatchObject({ code: 0 });
    execFileSync('ip', ['tuntap', 'add', 'dev', tap, 'mode', 'tap']);
    execFileSync('ip', ['addr', 'add', '10.79.0.1/24', 'dev', tap]);
    execFileSync('ip', ['link', 'set', tap, 'up']);
    compose('build', 'hypervisor');
  }, 300_000);

  afterAll(() => {
    compose('down', '--volumes', '--timeout', '2');
    spawnSync('ip', ['link', 'del', tap]);
    rmSync(scratch, { recursive: true, force: true });
  }, 60_000);

  it('lets a backend in a container use a TAP interface of the host, which so reaches a guest in another', () => {
    compose('up', '-d', 'lan', 'frontend');
    const ping = execFileSync('ping', ['-c', '5', '-i', '0.2', '-w', '60', '10.79.0.2'], { encoding: 'utf8' });
    expect(ping).toMatch(/ 5 received/);
    const [lan = ''] = docker('ps', '-q', '--filter', `name=${PROJECT}[-_]lan`).out.split('\n');
    expect(docker('exec', lan, 'grep', 'CapEff', '/proc/1/status').out).toMatch(/0000000000001002$/);
  }, 120_000);
});
