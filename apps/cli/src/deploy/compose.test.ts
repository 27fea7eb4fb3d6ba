import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { BUILTIN_PROGRAMS, parseTopology, type Topology } from '@remio/topology';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type ComposeOptions, renderCompose } from './compose.js';
import type { RenderedFile } from './plan.js';

const root = join(import.meta.dirname, '..', '..', '..', '..');

function topologyOf(text: string, file: string): Topology {
  const { topology, diagnostics } = parseTopology(text, file, {
    resolve: (name) => resolve(file, '..', name),
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });
  if (topology === undefined) throw new Error(JSON.stringify(diagnostics));
  return topology;
}
const demo = (name: string): Topology => {
  const file = join(root, 'deploy', 'topologies', name);
  return topologyOf(readFileSync(file, 'utf8'), file);
};
const options: ComposeOptions = { output: join(root, 'deploy'), root, images: {}, diskSize: 4 * 2 ** 20 };

interface Service {
  readonly command: readonly string[];
  readonly scale?: number;
  readonly volumes: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly read_only: boolean;
  readonly cap_drop: readonly string[];
  readonly mem_limit: string;
  readonly healthcheck?: { readonly test: readonly string[] };
  readonly ports?: readonly string[];
}
const servicesOf = (files: readonly RenderedFile[]): Readonly<Record<string, Service>> => {
  const compose = files.find(({ name }) => name === 'compose.yaml');
  return (parse(compose?.text ?? '', { version: '1.1' }) as { readonly services: Record<string, Service> }).services;
};

describe('Compose files', () => {
  it('of the project are what the command writes for its topology', () => {
    for (const { name, text } of renderCompose(demo('compose.yaml'), options)) {
      const fix = 'npm run remio -- deploy render compose deploy/topologies/compose.yaml -o deploy';
      expect(readFileSync(join(root, 'deploy', name), 'utf8'), `${name} has drifted: ${fix}`).toBe(text);
    }
  });

  it('mount keys as secrets: each service has those that it needs, and no others', () => {
    const keys = join(root, 'keys');
    const files = renderCompose(demo('compose.yaml'), { ...options, keys });
    const compose = parse(files[0]?.text ?? '', { version: '1.1' }) as {
      readonly services: Readonly<Record<string, Service & { readonly secrets?: readonly string[] }>>;
      readonly secrets: Readonly<Record<string, { readonly file: string }>>;
    };
    const guests = [0, 1, 2, 3].map((n) => `vm-guest${n}.key_secret`);
    const expected = {
      hypervisor: ['hypervisor.key_secret'],
      disks: ['vm-disks.key_secret'],
      lan: ['vm-lan.key_secret'],
      // Each instance may become any of these.
      frontend: guests,
    };
    for (const [name, { secrets, command }] of Object.entries(compose.services)) {
      expect(secrets, name).toEqual(expected[name as keyof typeof expected]);
      if (secrets !== undefined) expect(command.join(' ')).toContain('--keys /run/secrets');
    }
    expect(Object.keys(compose.secrets).sort()).toEqual(Object.values(expected).flat().sort());
    expect(compose.secrets['vm-lan.key_secret']).toEqual({ file: '../keys/vm-lan.key_secret' });
  });

  it('start in order of health: the hypervisor, backends, frontends', () => {
    const services = servicesOf(renderCompose(demo('compose.yaml'), options));
    expect(services['disks']?.depends_on).toEqual({
      hypervisor: { condition: 'service_healthy' },
      'make-disks': { condition: 'service_completed_successfully' },
    });
    expect(services['lan']?.depends_on).toEqual({ hypervisor: { condition: 'service_healthy' } });
    expect(Object.keys(services['frontend']?.depends_on ?? {})).toEqual(['hypervisor', 'disks', 'lan']);
    expect(services['frontend']?.scale).toBe(4);
    // A hypervisor that waited for its VMs would wait for ever.
    expect(services['hypervisor']?.healthcheck?.test.at(-1)).toBe('/healthz');
  });

  it('give every service no more than it needs', () => {
    for (const [name, service] of Object.entries(servicesOf(renderCompose(demo('compose.yaml'), options)))) {
      expect(service, name).toMatchObject({ read_only: true, cap_drop: ['ALL'], mem_limit: expect.any(String) });
      for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/);
    }
  });

  it('run by name what uses something of its host, and mount what it uses', () => {
    const services = servicesOf(renderCompose(demo('demo-devices-aarch64.yaml'), options));
    // guest1 dials a socket of the host; guest0 uses nothing.
    expect(services['guest1']?.command).toContain('guest1');
    expect(services['guest1']?.volumes).toContain('./topologies:/etc/remio');
    expect(services['frontend']).toMatchObject({ scale: 1, command: expect.arrayContaining(['--claim', 'frontend']) });
    expect(services['backend']?.volumes).toContain('./topologies/share:/mnt/share');
    expect(services['backend']?.command).toContain('share=/mnt/share');
    expect(services['backend']?.command).toContain('disk=/var/lib/remio/disks/disk.img');
  });

  it('mount disk images that are given, and make no others', () => {
    const images = { disk0: '/srv/disk0.img', disk1: join(root, 'disk1.img') };
    const services = servicesOf(renderCompose(demo('demo-riscv64.yaml'), { ...options, images }));
    expect(services['backend']?.volumes).toContain('/srv/disk0.img:/mnt/disk0');
    expect(services['backend']?.volumes).toContain('../disk1.img:/mnt/disk1');
    expect(services['backend']?.command).toContain('disk1=/mnt/disk1');
    expect(services['make-disks']).toBeUndefined();
  });

  it('have no service twice, whatever VMs are called', () => {
    const text = `board: { name: synthetic-aarch64, cpus: 4 }
shared_memories: { m: { size: 64KiB } }
vms:
  hypervisor:
    cpus: 1
    remio_devs:
      - { type: backend, bind_key: 0, interrupt: 40, shmem: { memory: m, base: 0xd0000000 }, device: { type: entropy } }
  Frontend:
    cpus: 1
    program: { module: ./mine.js }
    remio_devs:
      - { type: frontend, bind_key: 0, window: { base: 0xa003e00 }, interrupt: 79, shmem: { memory: m, base: 0xd0000000 } }
  other: { cpus: 1 }
`;
    const services = servicesOf(renderCompose(topologyOf(text, '/srv/t/mine.yaml'), options));
    expect(Object.keys(services)).toEqual(['hypervisor', 'vm-hypervisor', 'vm-frontend', 'frontend', 'prometheus']);
    expect(services['vm-frontend']?.volumes).toContain('/srv/t:/etc/remio:ro');
    expect(services['vm-hypervisor']?.command).toEqual(expect.arrayContaining(['backend-vm', '--vm', 'hypervisor']));
  });

  it('run the VMs of a host together', () => {
    const text = readFileSync(join(root, 'deploy', 'topologies', 'compose.yaml'), 'utf8');
    const hosts = '\nhosts:\n  devices: [disks, lan]\n  guests: [guest0, guest1]\n';
    const topology = topologyOf(`${text}${hosts}`, join(root, 'deploy', 'topologies', 'compose.yaml'));
    const services = servicesOf(renderCompose(topology, options));
    expect(services['devices']?.command).toEqual(expect.arrayContaining(['--vm', 'disks', 'lan']));
    // Whoever claims any frontend might get one of the host's.
    expect(services['frontend']).toBeUndefined();
    expect(services['guest2']?.command).toContain('guest2');
  });
});
