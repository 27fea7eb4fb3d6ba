import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { Topology } from '@remio/topology';
import { Document } from 'yaml';
import {
  type ClusterOptions,
  CONTAINER,
  type DeploymentPlan,
  diskFile,
  type Group,
  type GroupPlace,
  groupCommand,
  groupMib,
  healthTest,
  hypervisorCommand,
  keyFiles,
  madeBy,
  PROCESS_MIB,
  planDeployment,
  type RenderedFile,
  sharedMib,
} from './plan.js';
import { prometheusText } from './prometheus.js';

type Service = Record<string, unknown>;

/** Label of the node that has what cannot move: disks, and memory that must be mapped. */
const HOME = 'node.labels.remio.home == true';
/** Where Swarm puts secrets. */
const KEYS = '/run/secrets';
const CONNECT = `tcp://hypervisor:${CONTAINER.port}`;

/** What a stack's service is given. */
interface Limits {
  readonly mib: number;
  readonly home: boolean;
  readonly replicas?: number;
}

/**
 * Files with which a Swarm runs a topology: processes reach the hypervisor over an overlay network, and each other's
 * memory through it; VMs whose memory must be mapped, and those with disks, are on one node.
 */
export function renderSwarm(topology: Topology, options: ClusterOptions): readonly RenderedFile[] {
  const plan = planDeployment(topology, {}, 'only where it must be');
  const mapped = plan.groups.some((group) => group.mapped);
  // The contents of a config never change: another file is another config.
  const topologyConfig = configName('topology', options.topologyText);
  const topologyMount = { source: topologyConfig, target: plan.topologyFile };
  const prometheus = prometheusText(plan, 'swarm', (service) => `tasks.${service}`);
  const prometheusConfig = configName('prometheus', prometheus);
  const run = { type: 'volume', source: 'run', target: CONTAINER.run };
  const services: Record<string, Service> = {
    hypervisor: {
      ...common(CONTAINER.metricsPort, 'healthz'),
      command: hypervisorCommand(plan, { ...(mapped ? { runDirectory: CONTAINER.run } : {}), keys: KEYS }),
      configs: [topologyMount],
      ...secretsOf(keyFiles(plan, 'hypervisor')),
      volumes: [TEMPORARY, ...(mapped ? [run] : [])],
      deploy: deployOf({ mib: PROCESS_MIB + (mapped ? sharedMib(topology) : 0), home: mapped }),
    },
  };
  for (const group of plan.groups) {
    services[group.service] = {
      ...common(CONTAINER.metricsPort, 'healthz'),
      command: [...makeDisks(group, options), ...groupCommand(plan, group, placeOf(group, topology))],
      configs: [topologyMount],
      ...secretsOf(keyFiles(plan, group)),
      volumes: [
        TEMPORARY,
        ...(group.mapped ? [run] : []),
        ...(group.made.length > 0 ? [{ type: 'volume', source: 'disks', target: CONTAINER.disks }] : []),
      ],
      deploy: deployOf({
        mib: PROCESS_MIB + groupMib(topology, group),
        home: group.mapped || group.made.length > 0,
        ...(group.scale === undefined ? {} : { replicas: group.scale }),
      }),
    };
  }
  services['prometheus'] = {
    ...common(9090, '-/healthy'),
    // biome-ignore lint/suspicious/noTemplateCurlyInString: the client replaces it.
    image: '${REMIO_PROMETHEUS_IMAGE:-remio-prometheus}',
    environment: {},
    configs: [{ source: prometheusConfig, target: '/etc/prometheus/prometheus.yaml' }],
    // A tmpfs of Swarm is root's, with a mode but no owner.
    volumes: [{ type: 'tmpfs', target: '/prometheus', tmpfs: { size: 64 * 2 ** 20 } }],
    deploy: deployOf({ mib: 256, home: false }),
  };
  const disks = plan.groups.some(({ made }) => made.length > 0);
  return [
    { name: 'stack.yaml', text: stackText(plan, services, { topologyConfig, prometheusConfig, mapped, disks }) },
    { name: basename(topology.file), text: options.topologyText },
    { name: 'prometheus.yaml', text: prometheus },
  ];
}

const TEMPORARY = { type: 'tmpfs', target: '/tmp', tmpfs: { size: 16 * 2 ** 20 } };

const configName = (name: string, text: string): string =>
  `${name}-${createHash('sha256').update(text).digest('hex').slice(0, 12)}`;

const placeOf = ({ mapped }: Group, { keys }: Topology): GroupPlace => ({
  connect: CONNECT,
  ...(mapped ? { runDirectory: CONTAINER.run } : {}),
  ...(keys === undefined ? {} : { keys: KEYS }),
});

/** Names of secrets are those of the files, as a stack may write them. */
const secretName = (file: string): string => file.replaceAll('.', '-');

const secretsOf = (files: readonly string[]): Service => {
  const { user } = CONTAINER;
  const secrets = files.map((file) => ({ source: secretName(file), target: file, uid: `${user}`, mode: 0o400 }));
  return secrets.length === 0 ? {} : { secrets };
};

/** Swarm has no order of services: whoever needs a disk makes it. */
const makeDisks = ({ made }: Group, { diskSize }: ClusterOptions): readonly string[] =>
  made.length === 0 ? [] : ['make-disks', String(diskSize), ...made.map(diskFile), '--'];

const common = (port: number, path: string): Service => ({
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the client replaces it.
  image: '${REMIO_IMAGE:-remio}',
  environment: { REMIO_METRICS: `0.0.0.0:${CONTAINER.metricsPort}` },
  read_only: true,
  cap_drop: ['ALL'],
  networks: ['remio'],
  stop_grace_period: `${CONTAINER.grace}s`,
  // A task that is unhealthy is ended and replaced: one that only waits for another must not be.
  healthcheck: { test: healthTest(port, path), interval: '2s', timeout: '2s', retries: 5, start_period: '20s' },
});

const deployOf = ({ mib, home, replicas = 1 }: Limits): Service => ({
  replicas,
  // Names are the tasks' addresses, without a balancer between: each is one process.
  endpoint_mode: 'dnsrr',
  restart_policy: { condition: 'on-failure', delay: '1s' },
  ...(home ? { placement: { constraints: [HOME] } } : {}),
  resources: {
    limits: { cpus: String(CONTAINER.cpus), memory: `${mib}M`, pids: CONTAINER.pids },
    reservations: { memory: `${mib}M` },
  },
});

function stackText(
  plan: DeploymentPlan,
  services: Readonly<Record<string, Service>>,
  made: {
    readonly topologyConfig: string;
    readonly prometheusConfig: string;
    readonly mapped: boolean;
    readonly disks: boolean;
  },
): string {
  const { topology } = plan;
  const { user } = CONTAINER;
  const secrets = [...keyFiles(plan, 'hypervisor'), ...plan.groups.flatMap((group) => keyFiles(plan, group))];
  const size = `${sharedMib(topology) + 1}m`;
  const run = {
    driver: 'local',
    driver_opts: { type: 'tmpfs', device: 'tmpfs', o: `size=${size},uid=${user},gid=${user},mode=0700` },
  };
  const volumes = { ...(made.mapped ? { run } : {}), ...(made.disks ? { disks: {} } : {}) };
  const document = new Document(
    {
      version: '3.9',
      services,
      networks: { remio: { driver: 'overlay', driver_opts: { encrypted: '' } } },
      configs: {
        [made.topologyConfig]: { file: `./${basename(topology.file)}` },
        [made.prometheusConfig]: { file: './prometheus.yaml' },
      },
      ...(secrets.length === 0
        ? {}
        : { secrets: Object.fromEntries(secrets.map((file) => [secretName(file), { file: `./keys/${file}` }])) }),
      ...(Object.keys(volumes).length === 0 ? {} : { volumes }),
    },
    { version: '1.1', aliasDuplicateObjects: false },
  );
  document.commentBefore = ` ${madeBy('swarm', topology)}
 For Docker Engine 20.10 and later: \`docker stack deploy -c stack.yaml remio\`. Disks lie on the node with the label
 remio.home=true, and so does memory that must be mapped; other memory is reached through the hypervisor, over a network
 of the stack's own that is encrypted between nodes.`;
  return document.toString({ lineWidth: 0 });
}
