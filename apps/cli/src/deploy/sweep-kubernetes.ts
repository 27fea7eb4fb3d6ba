import { CONTAINER_SECURITY, POD_SECURITY, yamlOf } from './kubernetes.js';
import { componentLabels, type Manifest, PART_OF } from './kubernetes-network.js';
import { CONTAINER, type RenderedFile } from './plan.js';
import {
  gatherCommand,
  MAIN_MIB,
  NODE_OPTIONS,
  RESULTS,
  RUN_MIB,
  type SweepPlan,
  shardCommand,
  shardMib,
  sweepMadeBy,
} from './sweep-plan.js';

type Fields = Readonly<Record<string, unknown>>;

const EXPERIMENT = 'experiment';
/** Seconds that the results can be copied from the pod that gathered them. */
const HOLD = 3600;
/** Pods of a job that fail until the engine gives up. */
const FAILURES_MAX = 6;

/** A kustomize base for an experiment: an indexed Job whose pods make a shard each, and one that gathers them. */
export function renderKubernetesSweep(plan: SweepPlan): readonly RenderedFile[] {
  const head = `# ${sweepMadeBy('kubernetes', plan)}\n`;
  const namespace = `remio-${plan.name}`;
  const objects = [namespaceObject(namespace), nobodyTalks, resultsClaim, shardsJob(plan), gatherJob(plan)];
  const directory = 'experiment';
  const kustomization = {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    namespace,
    resources: ['experiment.yaml'],
    images: [{ name: 'remio', newName: 'remio', newTag: 'latest' }],
    configMapGenerator: [{ name: EXPERIMENT, files: plan.files.map(({ key }) => `${directory}/${key}`) }],
  };
  return [
    { name: 'kustomization.yaml', text: `${head}${yamlOf(kustomization)}` },
    { name: 'experiment.yaml', text: `${head}${objects.map(yamlOf).join('---\n')}` },
    ...plan.files.map(({ key, text }) => ({ name: `${directory}/${key}`, text })),
  ];
}

/** An experiment has a namespace of its own, with which its results go. */
const namespaceObject = (name: string): Manifest => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels: { ...PART_OF, 'pod-security.kubernetes.io/enforce': 'restricted' } },
});

/** Shards need nobody. */
const nobodyTalks: Manifest = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'nobody', labels: PART_OF },
  spec: { podSelector: { matchLabels: componentLabels('experiment') }, policyTypes: ['Ingress', 'Egress'] },
};

const resultsClaim: Manifest = {
  apiVersion: 'v1',
  kind: 'PersistentVolumeClaim',
  metadata: { name: 'results', labels: PART_OF },
  spec: { accessModes: ['ReadWriteMany'], resources: { requests: { storage: '1Gi' } } },
};

const shardsJob = (plan: SweepPlan): Manifest => {
  const { shards, parallel } = plan.options;
  const labels = labelsOf('shards');
  const spread = {
    maxSkew: 1,
    topologyKey: 'kubernetes.io/hostname',
    whenUnsatisfiable: 'ScheduleAnyway',
    labelSelector: { matchLabels: labels },
  };
  const container = containerOf('shard', shardCommand(plan), shardMib(plan), {
    cpus: parallel,
    volumeMounts: [RESULTS_MOUNT, { name: EXPERIMENT, mountPath: CONTAINER.topologyDirectory, readOnly: true }],
  });
  const items = plan.files.map(({ key, path }) => ({ key, path }));
  return job('shards', {
    // JOB_COMPLETION_INDEX tells each pod which shard is its own; started again, it goes on with what there is.
    spec: { completionMode: 'Indexed', completions: shards, parallelism: shards },
    pod: {
      topologySpreadConstraints: [spread],
      containers: [container],
      volumes: [{ name: EXPERIMENT, configMap: { name: EXPERIMENT, items } }, RESULTS_VOLUME],
    },
  });
};

/** Gathers when the last shard is there, and stays for a while: files can be copied from running pods only. */
const gatherJob = (plan: SweepPlan): Manifest =>
  job('gather', {
    spec: {},
    pod: {
      initContainers: [
        containerOf('gather', gatherCommand(plan), MAIN_MIB + RUN_MIB, { cpus: 1, volumeMounts: [RESULTS_MOUNT] }),
      ],
      containers: [
        {
          ...containerOf('results', [String(HOLD)], 64, { cpus: 1, volumeMounts: [RESULTS_MOUNT] }),
          command: ['sleep'],
        },
      ],
      volumes: [RESULTS_VOLUME],
    },
  });

const RESULTS_MOUNT = { name: 'results', mountPath: RESULTS };
const RESULTS_VOLUME = { name: 'results', persistentVolumeClaim: { claimName: 'results' } };

const labelsOf = (name: string): Readonly<Record<string, string>> => ({
  ...componentLabels('experiment'),
  'app.kubernetes.io/name': name,
});

const containerOf = (
  name: string,
  args: readonly string[],
  mib: number,
  { cpus, volumeMounts }: { readonly cpus: number; readonly volumeMounts: readonly Fields[] },
): Fields => ({
  name,
  image: 'remio',
  args,
  env: [{ name: 'NODE_OPTIONS', value: NODE_OPTIONS }],
  volumeMounts,
  resources: {
    requests: { cpu: name === 'shard' ? String(cpus) : '100m', memory: `${mib}Mi` },
    limits: { cpu: String(cpus), memory: `${mib}Mi` },
  },
  securityContext: CONTAINER_SECURITY,
});

const job = (name: string, { spec, pod }: { readonly spec: Fields; readonly pod: Fields }): Manifest => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name, labels: labelsOf(name) },
  spec: {
    ...spec,
    backoffLimit: FAILURES_MAX,
    template: {
      metadata: { labels: labelsOf(name) },
      spec: {
        restartPolicy: 'OnFailure',
        automountServiceAccountToken: false,
        enableServiceLinks: false,
        securityContext: POD_SECURITY,
        ...pod,
      },
    },
  },
});
