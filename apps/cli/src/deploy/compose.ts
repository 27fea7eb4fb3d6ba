import { basename, dirname, join, relative } from 'node:path';
import { type HostNeed, hostNeeds, isBackend, kindOf, type Topology, type Vm } from '@remio/topology';
import { Document, type Scalar } from 'yaml';
import { KEY_ARGUMENTS, keyFilesOf } from './secrets.js';

/** A file of a deployment. */
export interface RenderedFile {
  /** Path from the output directory. */
  readonly name: string;
  readonly text: string;
}

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

/** Where things are in a container. */
const TOPOLOGY_DIRECTORY = '/etc/remio';
const DISKS = '/var/lib/remio/disks';
const RUN = '/run/remio';
const ENDPOINT = `ipc://${RUN}/hypervisor.sock`;
const METRICS_PORT = 9464;
/** User `node` of the image. */
const USER = 1000;
const MIB = 2 ** 20;
/** What the hypervisor, and what the processes of VMs may use besides the memory that VMs share. */
const PROCESS_MIB = 192;
/** Names of services that no VM gives. */
const OWN_SERVICES = ['hypervisor', 'make-disks', 'frontend', 'prometheus'];

/** YAML as docker-compose 1.29 reads it: `no` and `0:0` are not texts unless they are quoted. */
const YAML = { version: '1.1', aliasDuplicateObjects: false } as const;

type Service = Record<string, unknown>;

/** VMs that one service runs. */
interface Group {
  readonly service: string;
  readonly vms: readonly Vm[];
  /** Instances, each of which claims a VM; undefined: one, which runs all of them. */
  readonly scale?: number;
}

/** Which services run the VMs: backends, and whatever needs something of its host, one by one; other frontends by claim. */
function groupsOf(topology: Topology): readonly Group[] {
  const hosts = topology.hosts.map(({ name, vms }) => ({
    service: serviceName(name),
    vms: vms.flatMap((id) => topology.vms[id] ?? []),
  }));
  const left = topology.vms.filter((vm) => !hosts.some(({ vms }) => vms.includes(vm)));
  const claimed = left.filter((vm) => kindOf(vm) === 'frontend' && hostNeeds(vm).length === 0);
  const named = left.filter((vm) => !claimed.includes(vm));
  const groups: Group[] = [...hosts, ...named.map((vm) => ({ service: serviceName(vm.name), vms: [vm] }))];
  // Those on a host of the topology's may be claimed as well, so none may be claimed where there are such.
  const claimable = claimed.length > 0 && !hosts.some(({ vms }) => vms.some((vm) => !isBackend(vm)));
  if (claimable) groups.push({ service: 'frontend', vms: claimed, scale: claimed.length });
  else groups.push(...claimed.map((vm) => ({ service: serviceName(vm.name), vms: [vm] })));
  return groups;
}

/** Services are names of hosts: in lower case, without underscores. */
function serviceName(name: string): string {
  const service = name.toLowerCase().replaceAll('_', '-');
  return OWN_SERVICES.includes(service) ? `vm-${service}` : service;
}

/** Compose files for a topology: everything on one host, with guest memory and the hypervisor's socket on a tmpfs. */
export function renderCompose(topology: Topology, options: ComposeOptions): readonly RenderedFile[] {
  const groups = groupsOf(topology);
  const inContainer = `${TOPOLOGY_DIRECTORY}/${basename(topology.file)}`;
  const topologyMount = `${fromOutput(options, topology.file)}:${inContainer}:ro`;
  const disks = disksOf(topology.vms, options);
  const services: Record<string, Service> = {
    hypervisor: {
      command: ['hypervisor', '--topology', inContainer, '--endpoint', ENDPOINT, '--run-dir', RUN],
      volumes: [topologyMount, `run:${RUN}`],
      healthcheck: healthcheck('healthz'),
      ...limits(PROCESS_MIB + sharedMib(topology)),
    },
  };
  if (disks.length > 0) {
    services['make-disks'] = {
      command: ['make-disks', String(options.diskSize), ...disks.map(inDisks)],
      volumes: [`disks:${DISKS}`],
      restart: 'no',
      environment: {},
      ...limits(64),
    };
  }
  const ordered = [...groups].sort((a, b) => rank(a) - rank(b));
  const backends = ordered.filter((group) => rank(group) === 0).map(({ service }) => service);
  for (const group of ordered) {
    const { service, vms, scale } = group;
    const backend = rank(group) === 0;
    const needs = vms.flatMap(hostNeeds);
    const made = vms.some((vm) => disksOf([vm], options).length > 0);
    const claim = scale === undefined ? vms.flatMap(({ name }) => ['--vm', name]) : ['--claim', 'frontend'];
    const mounts = mountsOf(needs, topology, options);
    services[service] = {
      command: [
        backend ? 'backend-vm' : 'frontend-vm',
        '--topology',
        inContainer,
        ...claim,
        '--connect',
        ENDPOINT,
        '--run-dir',
        RUN,
        ...needs.flatMap((need) => imageArgument(need, options)),
      ],
      ...(scale === undefined ? {} : { scale }),
      depends_on: {
        hypervisor: { condition: 'service_healthy' },
        ...(made ? { 'make-disks': { condition: 'service_completed_successfully' } } : {}),
        ...(backend ? {} : Object.fromEntries(backends.map((name) => [name, { condition: 'service_healthy' }]))),
      },
      volumes: [
        ...(mounts.some((mount) => mount.split(':')[1] === TOPOLOGY_DIRECTORY) ? [] : [topologyMount]),
        `run:${RUN}`,
        ...(made ? [`disks:${DISKS}`] : []),
        ...mounts,
      ],
      ...(needs.some(({ kind }) => kind === 'stdio') ? { stdin_open: true, tty: true } : {}),
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
    healthcheck: { ...healthcheck('-/healthy'), test: [...HEALTH, '9090', '/-/healthy'] },
    ...limits(256),
  };
  return [
    { name: 'compose.yaml', text: composeText(topology, services, disks.length > 0, options) },
    ...tapFile(topology, groups),
    { name: 'prometheus/prometheus.yaml', text: prometheusText(topology, ordered) },
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

const rank = ({ vms }: Group): number => (vms.some(isBackend) ? 0 : 1);

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

const HEALTH = ['CMD', 'bash', '/usr/local/bin/health'];
const healthcheck = (path: string): Service => ({
  test: [...HEALTH, String(METRICS_PORT), `/${path}`],
  interval: '2s',
  timeout: '2s',
  retries: 3,
  start_period: '20s',
});

const limits = (mib: number): Service => ({ mem_limit: `${mib}m`, cpus: 1, pids_limit: 64 });

/** Guest memory counts for whoever touches a page first. */
const sharedMib = ({ sharedMemories }: Topology): number =>
  Math.ceil(sharedMemories.reduce((sum, { size }) => sum + size, 0) / MIB);

/** Devices whose disks are made, in a volume. */
const disksOf = (vms: readonly Vm[], { images }: ComposeOptions): readonly string[] =>
  vms
    .flatMap(hostNeeds)
    .flatMap((need) => (need.kind === 'image' && images[need.device] === undefined ? [need.device] : []));

const inDisks = (device: string): string => `${DISKS}/${device}.img`;

/** Where an image or directory of this host is in the container. */
const inMount = (device: string): string => `/mnt/${device}`;

function imageArgument(need: HostNeed, { images }: ComposeOptions): readonly string[] {
  if (need.kind === 'image') {
    return [
      '--image',
      `${need.device}=${images[need.device] === undefined ? inDisks(need.device) : inMount(need.device)}`,
    ];
  }
  return need.kind === 'directory' ? ['--image', `${need.device}=${inMount(need.device)}`] : [];
}

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
        const there = inside.startsWith('..') ? directory : join(TOPOLOGY_DIRECTORY, inside);
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
    environment: { REMIO_METRICS: `0.0.0.0:${METRICS_PORT}` },
    restart: 'on-failure',
    read_only: true,
    cap_drop: ['ALL'],
    security_opt: ['no-new-privileges:true'],
    tmpfs: ['/tmp'],
    stop_grace_period: '5s',
  };
  const size = `${sharedMib(topology) + 1}m`;
  const document = new Document(
    {
      'x-remio': common,
      services,
      volumes: {
        run: {
          driver: 'local',
          driver_opts: { type: 'tmpfs', device: 'tmpfs', o: `size=${size},uid=${USER},gid=${USER},mode=0700` },
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
  document.commentBefore = ` ${MADE_BY(topology)}
 Guest memory and the hypervisor's socket lie on the volume \`run\`, a tmpfs: nothing of it touches a disk, only user ${USER}
 may open it, and no service that restarts takes it along. For docker-compose 1.29 and for Compose v2.`;
  return document.toString({ lineWidth: 0 });
}

const MADE_BY = ({ file, name }: Topology): string =>
  `Made by \`remio deploy render compose ${basename(file)}\` for the topology ${name}. Do not edit.`;

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
    healthcheck: { test: [...HEALTH, String(port), '/readyz'] },
  });
  const services = networked.map(({ service }, n) => [service, serviceOf(METRICS_PORT + n)] as const);
  const document = new Document({ services: Object.fromEntries(services) }, YAML);
  document.commentBefore = ` ${MADE_BY(topology)}
 Beside compose.yaml: \`docker compose -f compose.yaml -f compose.tap.yaml up\` lets network devices use TAP
 interfaces of the host, in whose network they are then.`;
  return [{ name: 'compose.tap.yaml', text: document.toString({ lineWidth: 0 }) }];
}

function prometheusText(topology: Topology, groups: readonly Group[]): string {
  const document = new Document({
    global: { scrape_interval: '2s', evaluation_interval: '2s' },
    rule_files: ['/etc/prometheus/alerts.yaml'],
    scrape_configs: [
      { job_name: 'remio-hypervisor', static_configs: [{ targets: [`hypervisor:${METRICS_PORT}`] }] },
      {
        job_name: 'remio-vms',
        // By name, so that every instance of a scaled service is found.
        dns_sd_configs: [
          { names: groups.map(({ service }) => service), type: 'A', port: METRICS_PORT, refresh_interval: '2s' },
        ],
      },
    ],
  });
  document.commentBefore = ` ${MADE_BY(topology)}`;
  return document.toString({ lineWidth: 0 });
}
