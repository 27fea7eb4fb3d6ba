import { basename } from 'node:path';
import type { Topology } from '@remio/topology';
import { Document } from 'yaml';
import { componentLabels, type Manifest, networkPolicies, PART_OF } from './kubernetes-network.js';
import {
  type ClusterOptions,
  CONTAINER,
  type DeploymentPlan,
  diskFile,
  type Group,
  groupCommand,
  groupMib,
  hypervisorCommand,
  keyFiles,
  MIB,
  madeBy,
  PROCESS_MIB,
  planDeployment,
  type RenderedFile,
  sharedMib,
} from './plan.js';

type Fields = Readonly<Record<string, unknown>>;

const NAMESPACE = 'remio';
const TOPOLOGY = 'remio-topology';
/** Where secret keys are in a container. */
const KEYS = '/run/keys';
/** The image's group, which volumes are given to. */
const GROUP = CONTAINER.user;

/** What no container may. */
export const CONTAINER_SECURITY = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  capabilities: { drop: ['ALL'] },
} as const;

export const POD_SECURITY = {
  runAsNonRoot: true,
  runAsUser: CONTAINER.user,
  runAsGroup: GROUP,
  fsGroup: GROUP,
  seccompProfile: { type: 'RuntimeDefault' },
} as const;

/** A container of a pod, and what it brings along. */
interface PodPart {
  readonly container: Fields;
  readonly initContainers: readonly Fields[];
  readonly volumes: readonly Fields[];
  readonly claims: readonly Manifest[];
}

/**
 * A kustomize base for a topology: a StatefulSet for each service. VMs whose memory must be mapped are in the hypervisor's
 * pod; the memory of others is reached through it, so they are to be near it.
 */
export function renderKubernetes(topology: Topology, options: ClusterOptions): readonly RenderedFile[] {
  const plan = planDeployment(topology, {}, 'only where it must be');
  const mapped = plan.groups.filter((group) => group.mapped);
  const others = plan.groups.filter((group) => !group.mapped);
  const objects: readonly (readonly [string, readonly Manifest[]])[] = [
    ['namespace.yaml', [namespaceObject]],
    ['network.yaml', networkPolicies(CONTAINER.metricsPort + mapped.length, others.length > 0 ? 'many' : 'one')],
    ['hypervisor.yaml', [headless('hypervisor', true), hypervisorSet(plan, mapped, options)]],
    ...others.map(
      (group) => [`vms/${group.service}.yaml`, [headless(group.service), groupSet(plan, group, options)]] as const,
    ),
  ];
  const files = objects.map(([name, some]) => ({ name, text: manifestsText(plan, some) }));
  return [
    { name: 'kustomization.yaml', text: kustomizationText(plan, files) },
    { name: topologyFileOf(plan), text: options.topologyText },
    ...files,
  ];
}

const topologyFileOf = ({ topology }: DeploymentPlan): string => `topology/${basename(topology.file)}`;

export const yamlOf = (object: object): string =>
  new Document(object, { aliasDuplicateObjects: false }).toString({ lineWidth: 0 });

const manifestsText = ({ topology }: DeploymentPlan, objects: readonly Manifest[]): string =>
  `# ${madeBy('kubernetes', topology)}\n${objects.map(yamlOf).join('---\n')}`;

function kustomizationText(plan: DeploymentPlan, files: readonly RenderedFile[]): string {
  const secrets = [
    { service: 'hypervisor', keys: keyFiles(plan, 'hypervisor') },
    ...plan.groups.map((group) => ({ service: group.service, keys: keyFiles(plan, group) })),
  ].filter(({ keys }) => keys.length > 0);
  const document = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    namespace: NAMESPACE,
    resources: files.map(({ name }) => name),
    images: [{ name: 'remio', newName: 'remio', newTag: 'latest' }],
    configMapGenerator: [{ name: TOPOLOGY, files: [topologyFileOf(plan)] }],
    ...(secrets.length === 0
      ? {}
      : {
          secretGenerator: secrets.map(({ service, keys }) => ({
            name: secretName(service),
            files: keys.map((key) => `keys/${key}`),
          })),
        }),
  };
  return `# ${madeBy('kubernetes', plan.topology)}\n${yamlOf(document)}`;
}

const secretName = (service: string): string => `remio-keys-${service}`;

const namespaceObject: Manifest = {
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: {
    name: NAMESPACE,
    labels: { ...PART_OF, 'pod-security.kubernetes.io/enforce': 'restricted' },
  },
};

const labelsOf = (service: string): Readonly<Record<string, string>> => ({
  ...componentLabels(service === 'hypervisor' ? 'hypervisor' : 'vm'),
  'app.kubernetes.io/name': service,
});

/** Names for the pods of a service. */
const headless = (service: string, hypervisor = false): Manifest => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: service, labels: labelsOf(service) },
  spec: {
    clusterIP: 'None',
    // The hypervisor is ready when it has every VM, and they need its name before.
    ...(hypervisor ? { publishNotReadyAddresses: true } : {}),
    selector: labelsOf(service),
    ports: [
      ...(hypervisor ? [{ name: 'records', port: CONTAINER.port, targetPort: 'records' }] : []),
      { name: 'metrics', port: CONTAINER.metricsPort, targetPort: 'metrics' },
    ],
  },
});

function hypervisorSet(plan: DeploymentPlan, mapped: readonly Group[], options: ClusterOptions): Manifest {
  const shared = mapped.length > 0;
  const hypervisor = podPart({
    service: 'hypervisor',
    command: hypervisorCommand(plan, { ...(shared ? { runDirectory: CONTAINER.run } : {}), keys: KEYS }),
    ports: [{ name: 'records', containerPort: CONTAINER.port }],
    mib: PROCESS_MIB + (shared ? sharedMib(plan.topology) : 0),
    keys: keyFiles(plan, 'hypervisor'),
    shared,
    options,
  });
  const others = mapped.map((group, n) => groupPart(plan, group, options, n + 1));
  const run = { name: 'run', emptyDir: { medium: 'Memory', sizeLimit: `${sharedMib(plan.topology) + 1}Mi` } };
  return statefulSet('hypervisor', [hypervisor, ...others], { volumes: shared ? [run] : [], near: false });
}

const groupSet = (plan: DeploymentPlan, group: Group, options: ClusterOptions): Manifest =>
  statefulSet(group.service, [groupPart(plan, group, options, 0)], {
    volumes: [],
    near: true,
    ...(group.scale === undefined ? {} : { replicas: group.scale }),
  });

/** @param number of the container in its pod: each has a port of its own for metrics */
function groupPart(plan: DeploymentPlan, group: Group, options: ClusterOptions, number: number): PodPart {
  const { service, mapped, made, needs } = group;
  const keys = keyFiles(plan, group);
  return podPart({
    service,
    command: groupCommand(plan, group, {
      connect: `tcp://${mapped ? '127.0.0.1' : 'hypervisor'}:${CONTAINER.port}`,
      ...(mapped ? { runDirectory: CONTAINER.run } : {}),
      ...(keys.length > 0 ? { keys: KEYS } : {}),
    }),
    ports: needs.flatMap((need) => (need.kind === 'port' ? [{ containerPort: need.port }] : [])),
    mib: PROCESS_MIB + groupMib(plan.topology, group),
    keys,
    made,
    terminal: needs.some(({ kind }) => kind === 'stdio'),
    shared: mapped,
    number,
    options,
  });
}

interface PartSpec {
  readonly service: string;
  readonly command: readonly string[];
  readonly ports: readonly Fields[];
  readonly mib: number;
  readonly keys: readonly string[];
  /** Devices whose disks are made. */
  readonly made?: readonly string[];
  readonly terminal?: boolean;
  /** It has the memory that the pod's containers map. */
  readonly shared: boolean;
  readonly number?: number;
  readonly options: ClusterOptions;
}

function podPart(spec: PartSpec): PodPart {
  const { service, command, mib, keys, made = [], number = 0, options } = spec;
  const metricsPort = CONTAINER.metricsPort + number;
  const claim = `disks-${service}`;
  const secrets = `keys-${service}`;
  const disks = made.length === 0 ? [] : [{ name: claim, mountPath: CONTAINER.disks }];
  const probe = (path: string, every: Fields): Fields => ({ httpGet: { path, port: metricsPort }, ...every });
  return {
    container: {
      name: service,
      image: 'remio',
      args: command,
      env: [{ name: 'REMIO_METRICS', value: `0.0.0.0:${metricsPort}` }],
      ports: [{ name: number === 0 ? 'metrics' : `metrics-${number}`, containerPort: metricsPort }, ...spec.ports],
      ...(spec.terminal === true ? { stdin: true, tty: true } : {}),
      volumeMounts: [
        { name: 'topology', mountPath: CONTAINER.topologyDirectory, readOnly: true },
        { name: 'tmp', mountPath: '/tmp' },
        ...(spec.shared ? [{ name: 'run', mountPath: CONTAINER.run }] : []),
        ...(keys.length > 0 ? [{ name: secrets, mountPath: KEYS, readOnly: true }] : []),
        ...disks,
      ],
      startupProbe: probe('/healthz', { periodSeconds: 1, failureThreshold: 60 }),
      readinessProbe: probe('/readyz', { periodSeconds: 2, timeoutSeconds: 2 }),
      livenessProbe: probe('/healthz', { periodSeconds: 5, timeoutSeconds: 2, failureThreshold: 3 }),
      resources: resources(mib),
      securityContext: CONTAINER_SECURITY,
    },
    initContainers:
      made.length === 0
        ? []
        : [
            {
              name: `make-${claim}`,
              image: 'remio',
              args: ['make-disks', String(options.diskSize), ...made.map(diskFile)],
              volumeMounts: disks,
              resources: resources(64),
              securityContext: CONTAINER_SECURITY,
            },
          ],
    volumes:
      keys.length === 0 ? [] : [{ name: secrets, secret: { secretName: secretName(service), defaultMode: 0o400 } }],
    claims: made.length === 0 ? [] : [volumeClaim(claim, made.length * options.diskSize)],
  };
}

export const resources = (mib: number): Fields => ({
  requests: { cpu: '100m', memory: `${mib}Mi` },
  limits: { cpu: String(CONTAINER.cpus), memory: `${mib}Mi` },
});

/** A volume that one node at a time has. */
const volumeClaim = (name: string, bytes: number): Manifest => ({
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name },
  spec: {
    accessModes: ['ReadWriteOnce'],
    resources: { requests: { storage: `${Math.ceil(bytes / MIB)}Mi` } },
  },
});

interface SetSpec {
  readonly volumes: readonly Fields[];
  /** It is to run near the hypervisor. */
  readonly near: boolean;
  readonly replicas?: number;
}

function statefulSet(service: string, parts: readonly PodPart[], { volumes, near, replicas = 1 }: SetSpec): Manifest {
  const labels = labelsOf(service);
  const initContainers = parts.flatMap((part) => part.initContainers);
  const claims = parts.flatMap((part) => part.claims);
  const affinity = {
    podAffinity: {
      preferredDuringSchedulingIgnoredDuringExecution: [
        {
          weight: 100,
          podAffinityTerm: {
            labelSelector: { matchLabels: componentLabels('hypervisor') },
            topologyKey: 'kubernetes.io/hostname',
          },
        },
      ],
    },
  };
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: service, labels },
    spec: {
      serviceName: service,
      replicas,
      // Who waits for another tries again: there is no order.
      podManagementPolicy: 'Parallel',
      selector: { matchLabels: labels },
      template: {
        metadata: {
          labels,
          annotations: { 'prometheus.io/scrape': 'true', 'prometheus.io/port': String(CONTAINER.metricsPort) },
        },
        spec: {
          automountServiceAccountToken: false,
          enableServiceLinks: false,
          securityContext: POD_SECURITY,
          terminationGracePeriodSeconds: CONTAINER.grace,
          ...(near ? { affinity } : {}),
          ...(initContainers.length === 0 ? {} : { initContainers }),
          containers: parts.map(({ container }) => container),
          volumes: [
            { name: 'topology', configMap: { name: TOPOLOGY } },
            { name: 'tmp', emptyDir: { medium: 'Memory', sizeLimit: '16Mi' } },
            ...volumes,
            ...parts.flatMap((part) => part.volumes),
          ],
        },
      },
      ...(claims.length === 0 ? {} : { volumeClaimTemplates: claims }),
    },
  };
}
