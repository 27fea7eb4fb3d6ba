import { dirname, join, relative } from 'node:path';
import type { HostNeed, Topology } from '@remio/topology';
import { Document, type Scalar } from 'yaml';
import {
  CONTAINER,
  diskFile,
  type Group,
  groupCommand,
  healthTest,
  madeBy,
  PROCESS_MIB,
  planDeployment,
  type RenderedFile,
  sharedMib,
} from './plan.js';
import { prometheusText } from './prometheus.js';
import { KEY_ARGUMENTS, keyFilesOf } from './secrets.js';

export interface ComposeOptions {
  /** Where the files will lie: paths in them count from there. Absolute. */
  readonly output: string;
  /** The project's root, from which images are built. Absolute. */
  readonly root: string;
  /** Images of disks and directories on this host, by device; others are made, empty, in a volume. Absolute paths. */
  readonly images: Readonly<Record<string, string>>;
  /** Bytes of a disk that is made. */
  readonly diskSize: number;
  /** Directory on this host with the secret keys; absent: none are used. Absolute path. */
  readonly keys?: string;
}

const ENDPOINT = `ipc://${CONTAINER.run}/hypervisor.sock`;

/** YAML as docker-compose 1.29 reads it: `no` and `0:0` are not texts unless they are quoted. */
const YAML = { version: '1.1', aliasDuplicateObjects: false } as const;

type Service = Record<string, unknown>;

/** Compose files for a topology: everything on one host, with guest memory and the hypervisor's socket on a tmpfs. */
export function renderCompose(topology: Topology, options: ComposeOptions): readonly RenderedFile[] {
  const plan = planDeployment(topology, options.images, 'one host');
  const { groups, topologyFile } = plan;
  const topologyMount = `${fromOutput(options, topology.file)}:${topologyFile}:ro`;
  const disks = groups.flatMap(({ made }) => made);
  const services: Record<string, Service> = {
    hypervisor: {
      command: ['hypervisor', '--topology', topologyFile, '--endpoint', ENDPOINT, '--run-dir', CONTAINER.run],
      volumes: [topologyMount, `run:${CONTAINER.run}`],
      healthcheck: healthcheck('healthz'),
      ...limits(PROCESS_MIB + sharedMib(topology)),
    },
  };
  if (disks.length > 0) {
    services['make-disks'] = {
      command: ['make-disks', String(options.diskSize), ...disks.map(diskFile)],
      volumes: [`disks:${CONTAINER.disks}`],
      restart: 'no',
      environment: {},
      ...limits(64),
    };
  }
  const backends = groups.filter(({ kind }) => kind === 'backend').map(({ service }) => service);
  for (const group of groups) {
    const { service, scale, kind, needs } = group;
    const made = group.made.length > 0;
    const mounts = mountsOf(needs, topology, options);
    services[service] = {
      command: groupCommand(plan, group, { connect: ENDPOINT, runDirectory: CONTAINER.run, inMount }),
      ...(scale === undefined ? {} : { scale }),
      depends_on: {
        hypervisor: { condition: 'service_healthy' },
        ...(made ? { 'make-disks': { condition: 'service_completed_successfully' } } : {}),
        ...(kind === 'backend'
          ? {}
          : Object.fromEntries(backends.map((name) => [name, { condition: 'service_healthy' }]))),
      },
      volumes: [
        ...(mounts.some((mount) => mount.split(':')[1] === CONTAINER.topologyDirectory) ? [] : [topologyMount]),
        `run:${CONTAINER.run}`,
        ...(made ? [`disks:${CONTAINER.disks}`] : []),
        ...mounts,
      ],
      ...(needs.some((need) => need.kind === 'stdio') ? { stdin_open: true, tty: true } : {}),
      ...portsOf(needs),
      healthcheck: healthcheck('readyz'),
      ...limits(PROCESS_MIB + sharedMib(topology)),
    };
  }
  if (options.keys !== undefined) giveKeys(services, groups);
  services['prometheus'] = {
    build: { ...buildOf(options), target: 'prometheus' },
    image: 'remio-prometheus',
    // biome-ignore lint/suspicious/noTemplateCurlyInString: Compose replaces it.
    ports: ['127.0.0.1:${REMIO_PROMETHEUS_PORT:-9090}:9090'],
    volumes: ['./prometheus/prometheus.yaml:/etc/prometheus/prometheus.yaml:ro'],
    tmpfs: ['/prometheus:uid=65534,gid=65534,mode=0700'],
    environment: {},
    healthcheck: { ...healthcheck('-/healthy'), test: healthTest(9090, '-/healthy') },
    ...limits(256),
  };
  return [
    { name: 'compose.yaml', text: composeText(topology, services, disks.length > 0, options) },
    ...tapFile(topology, groups),
    { name: 'prometheus/prometheus.yaml', text: prometheusText(plan, 'compose') },
  ];
}

/** Gives each service the keys that it needs, and no others. */
function giveKeys(services: Record<string, Service>, groups: readonly Pick<Group, 'service' | 'vms'>[]): void {
  const users = [...groups, { service: 'hypervisor', vms: 'hypervisor' as const }];
  for (const { service, vms } of users) {
    const given = services[service] as { readonly command: readonly string[] };
    services[service] = { ...given, command: [...given.command, ...KEY_ARGUMENTS], secrets: keyFilesOf(vms) };
  }
}

/** Where the keys of services are on this host. */
function secretsOf(services: Readonly<Record<string, Service>>, options: ComposeOptions): Service {
  const { keys } = options;
  const names = Object.values(services).flatMap(({ secrets }) => (secrets ?? []) as readonly string[]);
  if (keys === undefined) return {};
  return { secrets: Object.fromEntries(names.map((name) => [name, { file: fromOutput(options, join(keys, name)) }])) };
}

/** Paths of Compose files count from the file; those outside of the project stay absolute. */
function fromOutput({ output, root }: ComposeOptions, path: string): string {
  if (relative(root, path).startsWith('..') || relative(root, output).startsWith('..')) return path;
  const from = relative(output, path);
  return from.startsWith('.') ? from : `./${from}`;
}

const buildOf = (options: ComposeOptions): Service => ({
  context: fromOutput(options, options.root),
  dockerfile: 'deploy/Dockerfile',
  // The registries that a build asks may be reachable from the host's network only.
  network: 'host',
});

const healthcheck = (path: string): Service => ({
  test: healthTest(CONTAINER.metricsPort, path),
  interval: '2s',
  timeout: '2s',
  retries: 3,
  start_period: '20s',
});

const limits = (mib: number): Service => ({
  mem_limit: `${mib}m`,
  cpus: CONTAINER.cpus,
  pids_limit: CONTAINER.pids,
});

/** Where an image or directory of this host is in the container. */
const inMount = (device: string): string => `/mnt/${device}`;

function mountsOf(needs: readonly HostNeed[], topology: Topology, options: ComposeOptions): readonly string[] {
  const home = dirname(topology.file);
  const mounts = needs.flatMap((need): readonly string[] => {
    switch (need.kind) {
      case 'image':
      case 'directory': {
        const path = options.images[need.device] ?? (need.kind === 'directory' ? need.path : undefined);
        if (path === undefined) return [];
        return [`${fromOutput(options, path)}:${inMount(need.device)}${need.readOnly ? ':ro' : ''}`];
      }
      case 'module':
      case 'path': {
        // Paths count from the topology, whose directory is another one in the container.
        const directory = dirname(need.path);
        const inside = relative(home, directory);
        const there = inside.startsWith('..') ? directory : join(CONTAINER.topologyDirectory, inside);
        return [`${fromOutput(options, directory)}:${there}${need.kind === 'module' ? ':ro' : ''}`];
      }
      default:
        return [];
    }
  });
  // A directory that something is made in need not be there to read as well.
  return [...new Set(mounts)].filter((mount) => !mount.endsWith(':ro') || !mounts.includes(mount.slice(0, -3)));
}

function portsOf(needs: readonly HostNeed[]): Service {
  const ports = needs.flatMap((need) => (need.kind === 'port' ? [`127.0.0.1:${need.port}:${need.port}`] : []));
  return ports.length === 0 ? {} : { ports };
}

function composeText(
  topology: Topology,
  services: Readonly<Record<string, Service>>,
  disks: boolean,
  options: ComposeOptions,
): string {
  const common: Service = {
    build: { ...buildOf(options), target: 'remio' },
    image: 'remio',
    environment: { REMIO_METRICS: `0.0.0.0:${CONTAINER.metricsPort}` },
    restart: 'on-failure',
    read_only: true,
    cap_drop: ['ALL'],
    security_opt: ['no-new-privileges:true'],
    tmpfs: ['/tmp'],
    stop_grace_period: `${CONTAINER.grace}s`,
  };
  const size = `${sharedMib(topology) + 1}m`;
  const document = new Document(
    {
      'x-remio': common,
      services,
      volumes: {
        run: {
          driver: 'local',
          driver_opts: {
            type: 'tmpfs',
            device: 'tmpfs',
            o: `size=${size},uid=${CONTAINER.user},gid=${CONTAINER.user},mode=0700`,
          },
        },
        ...(disks ? { disks: {} } : {}),
      },
      ...secretsOf(services, options),
    },
    YAML,
  );
  const anchored = document.get('x-remio', true) as unknown as Scalar;
  for (const name of Object.keys(services)) {
    const service = document.getIn(['services', name], true) as { readonly items: unknown[] };
    service.items.unshift(document.createPair('<<', document.createAlias(anchored, 'remio')));
  }
  document.commentBefore = ` ${madeBy('compose', topology)}
 Guest memory and the hypervisor's socket lie on the volume \`run\`, a tmpfs: nothing of it touches a disk, only user ${CONTAINER.user}
 may open it, and no service that restarts takes it along. For docker-compose 1.29 and for Compose v2.`;
  return document.toString({ lineWidth: 0 });
}

/** What gives services of network devices the host's TAP interfaces; nothing, where there are none. */
function tapFile(topology: Topology, groups: readonly Group[]): readonly RenderedFile[] {
  const networked = groups.filter(({ vms }) =>
    vms.some((vm) =>
      vm.remioDevs.some(
        ({ device, driver }) => (device?.kind === 'builtin' && device.choice.type === 'net') || driver?.type === 'tap',
      ),
    ),
  );
  if (networked.length === 0) return [];
  // On the host's network each has a port of its own, of the loopback interface.
  const serviceOf = (port: number): Service => ({
    devices: ['/dev/net/tun:/dev/net/tun'],
    network_mode: 'host',
    // Only root makes interfaces; and without its other capabilities it may not open what another user owns.
    user: '0:0',
    cap_add: ['NET_ADMIN', 'DAC_OVERRIDE'],
    environment: { REMIO_METRICS: `127.0.0.1:${port}` },
    healthcheck: { test: healthTest(port, 'readyz') },
  });
  const services = networked.map(({ service }, n) => [service, serviceOf(CONTAINER.metricsPort + n)] as const);
  const document = new Document({ services: Object.fromEntries(services) }, YAML);
  document.commentBefore = ` ${madeBy('compose', topology)}
 Beside compose.yaml: \`docker compose -f compose.yaml -f compose.tap.yaml up\` lets network devices use TAP
 interfaces of the host, in whose network they are then.`;
  return [{ name: 'compose.tap.yaml', text: document.toString({ lineWidth: 0 }) }];
}
