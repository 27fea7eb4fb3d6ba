import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { BUILTIN_PROGRAMS, parseTopology, type Topology } from '@remio/topology';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { composeProblems } from '../../../../test/support/compose-schema.js';
import { type Kustomization, referenceProblems } from '../../../../test/support/kubernetes-references.js';
import { type KubernetesObject, schemaProblems } from '../../../../test/support/kubernetes-types.js';
import { renderKubernetes } from './kubernetes.js';
import { clusterMisfits, planDeployment, type RenderedFile } from './plan.js';
import { renderSwarm } from './swarm.js';

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

type Render = typeof renderSwarm;
const render = (how: Render, text: string, file = '/srv/t/mine.yaml'): readonly RenderedFile[] =>
  how(topologyOf(text, file), { topologyText: text, diskSize: 4 * 2 ** 20 });
const demoFile = join(root, 'deploy', 'topologies', 'compose.yaml');
const demoText = readFileSync(demoFile, 'utf8');
const demo = (how: Render): readonly RenderedFile[] => render(how, demoText, demoFile);

const KEY = 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7';
const KEYS = [
  'Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID',
  '6YLY(Fd8]b:Ja!}zv!lN%2p]dT0[NWyeYj7tqbzd',
  ']MsxUpq[[]dtsIZ.h%zm0vZ[3jYBKy/UTQdm&ZPp',
];
/** Two VMs; whose memory must be mapped, or that have keys, as is asked. */
const pairText = (memory: string, more = ''): string => `board: { name: synthetic-aarch64, cpus: 4 }
shared_memories: { m: { size: 3MiB${memory} } }
vms:
  disks:
    cpus: 1
    remio_devs:
      - name: disk
        type: backend
        bind_key: 0
        interrupt: 40
        shmem: { memory: m, base: 0xd0000000 }
        device: { type: block, image: disk.img }
  guest:
    cpus: 1
    remio_devs:
      - name: disk
        type: frontend
        bind_key: 0
        window: { base: 0xa003e00 }
        interrupt: 79
        shmem: { memory: m, base: 0xd0000000 }
        driver: { type: blk-verify, writes: 64, seed: 1 }
${more}`;
const withKeys = pairText(
  '',
  `keys: { hypervisor: "${KEY}", observer: "${KEYS[0]}", vms: { disks: "${KEYS[1]}", guest: "${KEYS[2]}" } }\n`,
);

const textOf = (files: readonly RenderedFile[], name: string): string =>
  files.find((file) => file.name === name)?.text ?? '';

const kustomizationOf = (files: readonly RenderedFile[]): Kustomization => parse(textOf(files, 'kustomization.yaml'));

function objectsOf(files: readonly RenderedFile[]): readonly KubernetesObject[] {
  const texts = kustomizationOf(files).resources.map((name) => textOf(files, name));
  return texts.flatMap((text) => parseAllDocuments(text).map((document) => document.toJS() as KubernetesObject));
}
const objectOf = (files: readonly RenderedFile[], kind: string, name: string): KubernetesObject => {
  const found = objectsOf(files).find((object) => object.kind === kind && object.metadata.name === name);
  if (found === undefined) throw new Error(`no ${kind} ${name}`);
  return found;
};

interface Stack {
  readonly services: Readonly<Record<string, StackService>>;
  readonly secrets?: Readonly<Record<string, { readonly file: string }>>;
  readonly configs: Readonly<Record<string, { readonly file: string }>>;
}
interface StackService {
  readonly command: readonly string[];
  readonly configs?: readonly { readonly source: string; readonly target: string }[];
  readonly secrets?: readonly { readonly target: string; readonly mode: number }[];
  readonly volumes: readonly { readonly source?: string }[];
  readonly deploy: {
    readonly replicas: number;
    readonly placement?: { readonly constraints: readonly string[] };
    readonly resources: { readonly limits: { readonly memory: string } };
  };
}
const stackOf = (files: readonly RenderedFile[]): Stack => parse(textOf(files, 'stack.yaml'), { version: '1.1' });

/** Every file in a directory, by path from it. */
const filesIn = (directory: string): readonly string[] =>
  readdirSync(directory, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1))
    .sort();

describe.each([
  ['swarm', renderSwarm],
  ['kubernetes', renderKubernetes],
] as const)('deploy/%s', (name, how) => {
  it('is what the command writes for the topology of Compose', () => {
    const files = demo(how);
    const directory = join(root, 'deploy', name);
    const fix = `npm run remio -- deploy render ${name} deploy/topologies/compose.yaml -o deploy/${name}`;
    expect(filesIn(directory), fix).toEqual(files.map((file) => file.name).sort());
    for (const file of files) {
      expect(readFileSync(join(directory, file.name), 'utf8'), `${file.name} has drifted: ${fix}`).toBe(file.text);
    }
  });
});

describe('Compose files', () => {
  const read = (name: string): Record<string, object> =>
    parse(readFileSync(join(root, 'deploy', name), 'utf8'), { version: '1.1', merge: true });

  it.each(['compose.yaml', 'compose.tap.yaml'])('such as %s are as the Compose Specification says', (name) => {
    expect(composeProblems(read(name))).toEqual([]);
  });

  it('would be found with a field that there is not', () => {
    const { services, ...compose } = read('compose.yaml');
    const wrong = { ...compose, services: { ...services, lan: { image: 'remio', heathcheck: {} } } };
    expect(composeProblems(wrong)).toMatchObject([{ params: { additionalProperty: 'heathcheck' } }]);
  });
});

describe('a stack', () => {
  it('keeps what cannot move on one node, and lets the rest run anywhere', () => {
    const { services } = stackOf(demo(renderSwarm));
    const home = ['node.labels.remio.home == true'];
    expect(services['disks']?.deploy.placement?.constraints).toEqual(home);
    for (const name of ['hypervisor', 'lan', 'frontend', 'prometheus']) {
      expect(services[name]?.deploy.placement, name).toBeUndefined();
    }
    expect(services['frontend']?.deploy.replicas).toBe(4);
    const { services: mapped } = stackOf(render(renderSwarm, pairText(', via: mapping')));
    for (const name of ['hypervisor', 'disks', 'guest']) {
      expect(mapped[name]?.deploy.placement?.constraints, name).toEqual(home);
      expect(mapped[name]?.command, name).toContain('--run-dir');
      expect(mapped[name]?.volumes, name).toContainEqual(expect.objectContaining({ source: 'run' }));
    }
  });

  it('makes the disks of whoever needs them before', () => {
    const { command } = stackOf(render(renderSwarm, pairText(''))).services['disks'] ?? { command: [] };
    expect(command.slice(0, 5)).toEqual(['make-disks', '4194304', '/var/lib/remio/disks/disk.img', '--', 'backend-vm']);
  });

  it('has another config for another topology', () => {
    const names = (text: string): readonly string[] => Object.keys(stackOf(render(renderSwarm, text)).configs);
    expect(names(pairText('', '# other\n'))).not.toEqual(names(pairText('')));
  });

  it('gives each process its keys, and says --plaintext only where there are none', () => {
    const plain = stackOf(render(renderSwarm, pairText('')));
    expect(plain.services['hypervisor']?.command).toContain('--plaintext');
    const { services, secrets } = stackOf(render(renderSwarm, withKeys));
    expect(services['hypervisor']?.command).toEqual(expect.arrayContaining(['--keys', '/run/secrets']));
    expect(services['hypervisor']?.command).not.toContain('--plaintext');
    expect(services['hypervisor']?.secrets).toMatchObject([{ target: 'hypervisor.key_secret', mode: 0o400 }]);
    expect(services['disks']?.secrets).toMatchObject([{ target: 'vm-disks.key_secret', mode: 0o400 }]);
    expect(Object.values(secrets ?? {}).map(({ file }) => file)).toContain('./keys/vm-guest.key_secret');
  });
});

describe('a kustomize base', () => {
  it.each([
    ['the shipped one', demoText],
    ['one with memory that must be mapped', pairText(', via: mapping')],
    ['one with keys', withKeys],
  ])('%s is as Kubernetes’ schemas say, and names nothing that is not there', (_, text) => {
    const files = render(renderKubernetes, text, demoFile);
    const objects = objectsOf(files);
    expect(objects.length).toBeGreaterThan(4);
    expect(schemaProblems(objects)).toEqual([]);
    expect(referenceProblems(objects, kustomizationOf(files))).toEqual([]);
  });

  it('lists every file that it has', () => {
    const files = demo(renderKubernetes);
    const { resources, configMapGenerator = [] } = kustomizationOf(files);
    const known = ['kustomization.yaml', ...resources, ...configMapGenerator.flatMap((each) => each.files)];
    expect(files.map(({ name }) => name).sort()).toEqual(known.sort());
  });

  it('lets no container do more than it must', () => {
    for (const { kind, metadata, spec } of objectsOf(demo(renderKubernetes))) {
      if (kind !== 'StatefulSet') continue;
      const { template } = spec as { template: { spec: Record<string, unknown> } };
      const { containers, initContainers = [], ...pod } = template.spec;
      expect(pod, metadata.name).toMatchObject({
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      });
      for (const container of [...(containers as object[]), ...(initContainers as object[])]) {
        expect(container).toMatchObject({
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          resources: { requests: { memory: expect.any(String) }, limits: { memory: expect.any(String) } },
        });
      }
    }
  });

  it('has those whose memory must be mapped in the hypervisor’s pod', () => {
    const files = render(renderKubernetes, pairText(', via: mapping'));
    const { spec } = objectOf(files, 'StatefulSet', 'hypervisor');
    const pod = (spec as { template: { spec: Record<string, unknown> } }).template.spec;
    expect(pod).toMatchObject({ containers: [{ name: 'hypervisor' }, { name: 'disks' }, { name: 'guest' }] });
    expect(pod['volumes']).toContainEqual({ name: 'run', emptyDir: { medium: 'Memory', sizeLimit: '4Mi' } });
    expect(objectsOf(files).filter(({ kind }) => kind === 'StatefulSet')).toHaveLength(1);
  });

  it('has those of a disk that resumes there as well, with room for what it keeps', () => {
    const text = pairText('').replace('interrupt: 40', 'interrupt: 40\n        on_backend_loss: resume');
    const { spec } = objectOf(render(renderKubernetes, text), 'StatefulSet', 'hypervisor');
    const pod = (spec as { template: { spec: Record<string, unknown> } }).template.spec;
    expect(pod).toMatchObject({ containers: [{ name: 'hypervisor' }, { name: 'disks' }, { name: 'guest' }] });
    expect(pod['volumes']).toContainEqual({ name: 'run', emptyDir: { medium: 'Memory', sizeLimit: '5Mi' } });
  });

  it('gives keys as secrets', () => {
    const files = render(renderKubernetes, withKeys);
    expect(kustomizationOf(files).secretGenerator).toEqual([
      { name: 'remio-keys-hypervisor', files: ['keys/hypervisor.key_secret'] },
      { name: 'remio-keys-disks', files: ['keys/vm-disks.key_secret'] },
      { name: 'remio-keys-frontend', files: ['keys/vm-guest.key_secret'] },
    ]);
    expect(JSON.stringify(objectOf(files, 'StatefulSet', 'hypervisor'))).not.toContain('--plaintext');
  });
});

describe('what checks them', () => {
  const files = demo(renderKubernetes);
  const kustomization = kustomizationOf(files);
  /** The base with a change in the text of one object. */
  const changed = (kind: string, name: string, from: string, to: string): readonly KubernetesObject[] =>
    objectsOf(files).map((object) => {
      if (object.kind !== kind || object.metadata.name !== name) return object;
      const text = JSON.stringify(object);
      expect(text).toContain(from);
      return JSON.parse(text.replace(from, to)) as KubernetesObject;
    });

  it.each([
    ['a field that there is not', 'StatefulSet', 'lan', '"serviceName"', '"servicename"'],
    ['one deep inside', 'StatefulSet', 'lan', '"periodSeconds"', '"period"'],
    ['a value of another type', 'StatefulSet', 'frontend', '"replicas":4', '"replicas":"4"'],
    ['an API that has no such kind', 'Service', 'lan', '"apiVersion":"v1"', '"apiVersion":"apps/v1"'],
    ['a field of no policy', 'NetworkPolicy', 'vm', '"policyTypes"', '"policytypes"'],
  ])('finds %s', (_, kind, name, from, to) => {
    expect(schemaProblems(changed(kind, name, from, to))).toContainEqual(expect.stringContaining(name));
  });

  it.each([
    ['a selector without pods', 'Service', 'lan', '"selector":{"app.kubernetes.io/part-of":"', '$&no'],
    ['a volume that there is not', 'StatefulSet', 'disks', '"volumeMounts":[{"name":"', '"volumeMounts":[{"name":"no'],
    ['a ConfigMap that there is not', 'StatefulSet', 'lan', '"configMap":{"name":"', '"configMap":{"name":"no'],
    ['a port that nobody has', 'Service', 'hypervisor', '"targetPort":"records"', '"targetPort":"record"'],
    ['a probe of no port', 'StatefulSet', 'lan', '"port":9464', '"port":9465'],
    ['a Service that there is not', 'StatefulSet', 'lan', 'tcp://hypervisor', 'tcp://supervisor'],
    ['a policy about nobody', 'NetworkPolicy', 'hypervisor', '"vm"', '"vms"'],
    ['a policy for no port', 'NetworkPolicy', 'vm', '5555', '5556'],
  ])('finds %s', (_, kind, name, from, to) => {
    const problems = referenceProblems(changed(kind, name, from, to), kustomization);
    expect(problems).toContainEqual(expect.stringContaining(name));
  });
});

describe('hosts of a cluster', () => {
  it('run nothing that needs this one', () => {
    const file = join(root, 'deploy', 'topologies', 'demo-devices-aarch64.yaml');
    const misfits = clusterMisfits(planDeployment(topologyOf(readFileSync(file, 'utf8'), file), {}, 'one host'));
    expect(misfits).toContainEqual(expect.stringMatching(/backend: device share shares the directory .*share of this/));
    expect(clusterMisfits(planDeployment(topologyOf(demoText, demoFile), {}, 'one host'))).toEqual([]);
  });
});
