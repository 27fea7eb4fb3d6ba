import { basename, relative } from 'node:path';
import type { KubernetesObject } from './kubernetes-types.js';

type Labels = Readonly<Record<string, string>>;

interface Container {
  readonly name: string;
  readonly args?: readonly string[];
  readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
}

interface Probe {
  readonly httpGet: { readonly port: number };
}

interface Pod {
  readonly owner: KubernetesObject;
  readonly labels: Labels;
  readonly containers: readonly Container[];
  readonly initContainers: readonly Container[];
  readonly volumes: readonly {
    readonly name: string;
    readonly configMap?: {
      readonly name: string;
      /** Where its files are in the volume; by their names, if absent. */
      readonly items?: readonly { readonly key: string; readonly path: string }[];
    };
    readonly secret?: { readonly secretName: string };
    readonly persistentVolumeClaim?: { readonly claimName: string };
  }[];
  readonly claims: readonly string[];
}

/** What kustomize is told, of what this looks at. */
export interface Kustomization {
  readonly resources: readonly string[];
  readonly configMapGenerator?: readonly { readonly name: string; readonly files: readonly string[] }[];
  readonly secretGenerator?: readonly { readonly name: string; readonly files: readonly string[] }[];
}

interface PodTemplate {
  readonly metadata: { readonly labels: Labels };
  readonly spec: Omit<Pod, 'owner' | 'labels' | 'claims' | 'initContainers'> & {
    readonly initContainers?: readonly Container[];
  };
}

interface Owner {
  readonly serviceName?: string;
  readonly selector?: { readonly matchLabels: Labels };
  readonly template: PodTemplate;
  readonly volumeClaimTemplates?: readonly KubernetesObject[];
}

interface ServiceSpec {
  readonly selector: Labels;
  readonly ports: readonly { readonly port: number; readonly targetPort: string | number }[];
}

interface Peer {
  readonly podSelector?: { readonly matchLabels: Labels };
}

interface PolicySpec extends Peer {
  readonly ingress?: readonly {
    readonly from: readonly Peer[];
    readonly ports: readonly { readonly port: number }[];
  }[];
  readonly egress?: readonly { readonly to: readonly Peer[]; readonly ports: readonly { readonly port: number }[] }[];
}

const OWNERS = ['StatefulSet', 'Job'];

function podsOf(objects: readonly KubernetesObject[]): readonly Pod[] {
  return objects
    .filter(({ kind }) => OWNERS.includes(kind))
    .map((owner) => {
      const { template, volumeClaimTemplates = [] } = owner.spec as Owner;
      const { containers, initContainers = [], volumes } = template.spec;
      const claims = volumeClaimTemplates.map(({ metadata }) => metadata.name);
      return { owner, labels: template.metadata.labels, containers, initContainers, volumes, claims };
    });
}

const matches = (selector: Labels, labels: Labels): boolean =>
  Object.entries(selector).every(([name, value]) => labels[name] === value);

/** What schemas cannot say: names that one object has of another, or of a file, and nobody has. */
export function referenceProblems(
  objects: readonly KubernetesObject[],
  { configMapGenerator = [], secretGenerator = [] }: Kustomization,
): readonly string[] {
  const pods = podsOf(objects);
  const named = (kind: string, name: string): boolean =>
    objects.some((object) => object.kind === kind && object.metadata.name === name);
  const services = objects.filter(({ kind }) => kind === 'Service');
  const problems: string[] = [];
  const check = (holds: boolean, problem: string): void => {
    if (!holds) problems.push(problem);
  };
  for (const pod of pods) {
    const where = `${pod.owner.kind} ${pod.owner.metadata.name}`;
    const { serviceName, selector } = pod.owner.spec as Owner;
    check(serviceName === undefined || named('Service', serviceName), `${where}: no Service ${serviceName}`);
    check(selector === undefined || matches(selector.matchLabels, pod.labels), `${where}: its selector finds no pod`);
    const volumes = new Set([...pod.volumes.map(({ name }) => name), ...pod.claims]);
    for (const { name, configMap, secret, persistentVolumeClaim } of pod.volumes) {
      const map = configMapGenerator.find((each) => each.name === configMap?.name);
      check(configMap === undefined || map !== undefined, `${where}: no ConfigMap ${configMap?.name}`);
      for (const { key } of configMap?.items ?? []) {
        const has = map?.files.some((file) => basename(file) === key) === true;
        check(has, `${where}: ConfigMap ${configMap?.name} has no ${key}`);
      }
      const made = secretGenerator.some((each) => each.name === secret?.secretName);
      check(secret === undefined || made, `${where}: no Secret ${secret?.secretName}`);
      const claim = persistentVolumeClaim?.claimName;
      check(
        claim === undefined || named('PersistentVolumeClaim', claim),
        `${where}: no PersistentVolumeClaim ${claim}`,
      );
      const used = [...pod.containers, ...pod.initContainers].some(({ volumeMounts = [] }) =>
        volumeMounts.some((mount) => mount.name === name),
      );
      check(used, `${where}: nobody mounts ${name}`);
    }
    const portNames = pod.containers.flatMap(({ ports = [] }) => ports.flatMap(({ name }) => name ?? []));
    check(new Set(portNames).size === portNames.length, `${where}: two ports have one name`);
    const portNumbers = pod.containers.flatMap(({ ports = [] }) => ports.map(({ containerPort }) => containerPort));
    check(new Set(portNumbers).size === portNumbers.length, `${where}: two containers have one port`);
    for (const container of [...pod.containers, ...pod.initContainers]) {
      const { name, args = [], ports = [], volumeMounts = [] } = container;
      for (const mount of volumeMounts) check(volumes.has(mount.name), `${where}: ${name} mounts no ${mount.name}`);
      for (const probe of [container.startupProbe, container.readinessProbe, container.livenessProbe]) {
        const port = probe?.httpGet.port;
        const there = ports.some(({ containerPort }) => containerPort === port);
        check(probe === undefined || there, `${where}: ${name} is probed at ${port}, which it has not`);
      }
      const connect = /^tcp:\/\/([a-z][^:]*):(\d+)$/.exec(args[args.indexOf('--connect') + 1] ?? '');
      const reached = services.some(
        ({ metadata, spec }) =>
          metadata.name === connect?.[1] &&
          (spec as ServiceSpec).ports.some(({ port }) => String(port) === connect?.[2]),
      );
      check(connect === null || reached, `${where}: ${name} connects to ${connect?.[0]}, which no Service has`);
      for (const path of args.filter((arg) => arg.startsWith('/'))) {
        const mount = volumeMounts.find(({ mountPath }) => path === mountPath || path.startsWith(`${mountPath}/`));
        check(mount !== undefined, `${where}: ${name} uses ${path}, and mounts nothing there`);
        const map = pod.volumes.find((volume) => volume.name === mount?.name)?.configMap;
        const files = configMapGenerator.find((each) => each.name === map?.name)?.files.map((file) => basename(file));
        const has = (map?.items?.map((item) => item.path) ?? files)?.includes(relative(mount?.mountPath ?? '', path));
        check(
          map === undefined || has === true,
          `${where}: ${name} uses ${path}, which ConfigMap ${map?.name} has not`,
        );
      }
    }
  }
  const found = (selector: Labels): readonly Pod[] => pods.filter(({ labels }) => matches(selector, labels));
  for (const { metadata, spec } of services) {
    const { selector, ports } = spec as ServiceSpec;
    const chosen = found(selector);
    check(chosen.length > 0, `Service ${metadata.name}: its selector finds no pod`);
    for (const { targetPort } of ports) {
      const there = chosen.every(({ containers }) =>
        containers.some(({ ports: own = [] }) => own.some(({ name }) => name === targetPort)),
      );
      check(there, `Service ${metadata.name}: a pod has no port ${targetPort}`);
    }
  }
  for (const { metadata, spec } of objects.filter(({ kind }) => kind === 'NetworkPolicy')) {
    const { podSelector, ingress = [], egress = [] } = spec as PolicySpec;
    const own = podSelector?.matchLabels ?? {};
    const rules = [
      ...ingress.map(({ from, ports }) => ({ peers: from, ports, at: own })),
      ...egress.flatMap(({ to, ports }) =>
        to.map((peer) => ({ peers: [peer], ports, at: peer.podSelector?.matchLabels })),
      ),
    ];
    const selectors = [
      own,
      ...rules.flatMap(({ peers }) =>
        peers.flatMap((peer): readonly Labels[] =>
          peer.podSelector === undefined ? [] : [peer.podSelector.matchLabels],
        ),
      ),
    ];
    for (const selector of selectors) {
      check(found(selector).length > 0, `NetworkPolicy ${metadata.name}: ${JSON.stringify(selector)} finds no pod`);
    }
    for (const { at, ports } of rules) {
      if (at === undefined) continue;
      const open = found(at).flatMap(({ containers }) =>
        containers.flatMap(({ ports: some = [] }) => some.map(({ containerPort }) => containerPort)),
      );
      for (const { port } of ports) {
        check(open.includes(port), `NetworkPolicy ${metadata.name}: nobody it is about has port ${port}`);
      }
    }
  }
  return problems;
}
