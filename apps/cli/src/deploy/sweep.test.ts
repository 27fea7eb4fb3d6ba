import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { type Plan, readPlan, shippedFile } from '@remio/experiments';
import { afterAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { composeProblems } from '../../../../test/support/compose-schema.js';
import { type Kustomization, referenceProblems } from '../../../../test/support/kubernetes-references.js';
import { type KubernetesObject, schemaProblems } from '../../../../test/support/kubernetes-types.js';
import type { RenderedFile } from './plan.js';
import { renderKubernetesSweep } from './sweep-kubernetes.js';
import { planSweep, type SweepEngine, type SweepOptions } from './sweep-plan.js';
import { renderSwarmSweep } from './sweep-swarm.js';

const root = join(import.meta.dirname, '..', '..', '..', '..');
const directory = mkdtempSync(join(tmpdir(), 'remio-sweep-'));
afterAll(() => rmSync(directory, { recursive: true }));

const OPTIONS: SweepOptions = { shards: 3, parallel: 2, quick: false, sensitivity: true };
const based = join(root, 'examples', 'experiments', 'disk-of-a-platform.yaml');
const small = join(directory, 'small.yaml');
writeFileSync(small, 'name: A_small-One\ntitle: Small\nsweep: { platform.frontends: [1, 2, 4] }\n');

function planOf(file: string): Plan {
  const { plan, text } = readPlan(readFileSync(file, 'utf8'), file);
  if (plan === undefined) throw new Error(text);
  return plan;
}

function render(engine: SweepEngine, file: string, options: Partial<SweepOptions> = {}): readonly RenderedFile[] {
  const sweep = planSweep(planOf(file), engine, { ...OPTIONS, ...options });
  if (!sweep.ok) throw new Error(sweep.error);
  return engine === 'swarm' ? renderSwarmSweep(sweep.value) : renderKubernetesSweep(sweep.value);
}

const textOf = (files: readonly RenderedFile[], name: string): string =>
  files.find((file) => file.name === name)?.text ?? '';
const kustomizationOf = (files: readonly RenderedFile[]): Kustomization => parse(textOf(files, 'kustomization.yaml'));
const objectsOf = (files: readonly RenderedFile[]): readonly KubernetesObject[] =>
  parseAllDocuments(textOf(files, 'experiment.yaml')).map((document) => document.toJS() as KubernetesObject);

interface Pod {
  readonly containers: readonly { readonly args: readonly string[] }[];
  readonly initContainers?: readonly { readonly args: readonly string[] }[];
  readonly volumes: readonly object[];
}
const jobOf = (files: readonly RenderedFile[], name: string): { readonly spec: object; readonly pod: Pod } => {
  const found = objectsOf(files).find(({ kind, metadata }) => kind === 'Job' && metadata.name === name);
  const spec = found?.spec as { readonly template: { readonly spec: Pod } };
  return { spec, pod: spec.template.spec };
};

interface Stack {
  readonly services: Readonly<Record<string, StackService>>;
  readonly configs: Readonly<Record<string, { readonly file: string }>>;
}
interface StackService {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly configs?: readonly { readonly source: string; readonly target: string }[];
}
const stackOf = (files: readonly RenderedFile[]): Stack => parse(textOf(files, 'stack.yaml'), { version: '1.1' });

describe.each([
  ['an experiment', small],
  ['one that comes with Remio', shippedFile('boards') ?? ''],
  ['one on a topology in another directory', based],
])('%s', (_, file) => {
  it('is a kustomize base as Kubernetes’ schemas say, which names nothing that is not there', () => {
    const files = render('kubernetes', file);
    const objects = objectsOf(files);
    expect(schemaProblems(objects)).toEqual([]);
    expect(referenceProblems(objects, kustomizationOf(files))).toEqual([]);
    const { resources, configMapGenerator = [] } = kustomizationOf(files);
    const known = ['kustomization.yaml', ...resources, ...configMapGenerator.flatMap((each) => each.files)];
    expect(files.map(({ name }) => name).sort()).toEqual([...known].sort());
  });

  it('is a stack as the Compose Specification says, each of whose files is there', () => {
    const files = render('swarm', file);
    const stack = stackOf(files);
    // The schema that stacks are written by, 3.9, lets them limit pids there; this one does so elsewhere.
    const known = JSON.parse(JSON.stringify(stack, (key, value) => (key === 'pids' ? undefined : value)));
    expect(composeProblems(known)).toEqual([]);
    for (const { file: config } of Object.values(stack.configs)) expect(textOf(files, config.slice(2))).not.toBe('');
    const sources = stack.services['shards']?.configs?.map(({ source }) => source);
    expect(sources).toEqual(Object.keys(stack.configs));
  });

  it('is the same in a container as here', () => {
    const files = render('swarm', file);
    const { configs, services } = stackOf(files);
    const container = mkdtempSync(join(directory, 'container-'));
    for (const { source, target } of services['shards']?.configs ?? []) {
      mkdirSync(dirname(join(container, target)), { recursive: true });
      writeFileSync(join(container, target), textOf(files, configs[source]?.file.slice(2) ?? ''));
    }
    const there = planOf(join(container, services['shards']?.command[3] ?? ''));
    expect(there.points.map(({ at }) => at)).toEqual(planOf(file).points.map(({ at }) => at));
    expect(there.text).toBe(planOf(file).text);
  });
});

describe('on Kubernetes', () => {
  const files = render('kubernetes', small);

  it('pods of an indexed Job make a shard each, and one gathers them all', () => {
    const { spec, pod } = jobOf(files, 'shards');
    expect(spec).toMatchObject({ completionMode: 'Indexed', completions: 3, parallelism: 3 });
    const place = ['/var/lib/remio/results', '/etc/remio/small.yaml'];
    expect(pod.containers).toMatchObject([{ args: ['shard', '3', ...place, '--parallel', '2'] }]);
    expect(jobOf(files, 'gather').pod.initContainers).toMatchObject([{ args: ['gather', '3', place[0]] }]);
    for (const { volumes } of [pod, jobOf(files, 'gather').pod]) {
      expect(volumes).toContainEqual({ name: 'results', persistentVolumeClaim: { claimName: 'results' } });
    }
  });

  it('no container does more than it must', () => {
    for (const name of ['shards', 'gather']) {
      const { containers, initContainers = [], ...pod } = jobOf(files, name).pod;
      expect(pod, name).toMatchObject({
        automountServiceAccountToken: false,
        securityContext: { runAsNonRoot: true, runAsUser: 1000, seccompProfile: { type: 'RuntimeDefault' } },
      });
      for (const container of [...containers, ...initContainers]) {
        expect(container).toMatchObject({
          securityContext: {
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          },
          resources: { requests: { memory: expect.any(String) }, limits: { cpu: expect.any(String) } },
        });
      }
    }
    expect(objectsOf(files)).toContainEqual(expect.objectContaining({ kind: 'NetworkPolicy' }));
  });

  it('names are as Kubernetes takes them', () => {
    expect(kustomizationOf(files)).toMatchObject({ namespace: 'remio-a-small-one' });
  });

  it.each([
    ['a key that the ConfigMap has not', '"key":"small.yaml"', '"key":"other.yaml"'],
    ['a file that is elsewhere', '"path":"small.yaml"', '"path":"other.yaml"'],
    ['a claim that there is not', '"claimName":"results"', '"claimName":"other"'],
  ])('%s would be found', (_, from, to) => {
    const objects = objectsOf(files).map((object) => JSON.parse(JSON.stringify(object).replace(from, to)));
    expect(referenceProblems(objects, kustomizationOf(files))).toContainEqual(expect.stringContaining('Job '));
  });
});

describe('on Swarm', () => {
  it('tasks of a replicated job make a shard each, which the task’s slot tells, and one gathers them', () => {
    const { services } = stackOf(render('swarm', small, { quick: true, sensitivity: false }));
    expect(services['shards']).toMatchObject({
      command: [
        'shard',
        '3',
        '/var/lib/remio/results',
        '/etc/remio/small.yaml',
        '--parallel',
        '2',
        '--quick',
        '--no-sensitivity',
      ],
      environment: { REMIO_SLOT: '{{.Task.Slot}}' },
      read_only: true,
      cap_drop: ['ALL'],
      deploy: { mode: 'replicated-job', replicas: 3, resources: { limits: { cpus: '2' } } },
    });
    expect(services['gather']).toMatchObject({
      command: ['gather', '3', '/var/lib/remio/results'],
      deploy: { mode: 'replicated-job', replicas: 1 },
    });
  });

  it('another experiment is another config', () => {
    const other = join(directory, 'other', 'small.yaml');
    mkdirSync(dirname(other));
    writeFileSync(other, `${readFileSync(small, 'utf8')}seed: 2\n`);
    const names = (file: string): readonly string[] => Object.keys(stackOf(render('swarm', file)).configs);
    expect(names(other)).not.toEqual(names(small));
  });
});

describe('what a cluster cannot run is refused:', () => {
  const board = join(directory, 'board.yaml');
  writeFileSync(board, readFileSync(join(root, 'deploy', 'boards', 'example.yaml')));
  it.each<[string, string, Partial<SweepOptions>, RegExp]>([
    ['the wall clock', 'clock: wall\n', {}, /figures are those of one machine: write `clock: virtual`/],
    [
      'more shards than points',
      'sweep: { platform.frontends: [1, 2] }\n',
      {},
      /2 points, too few for 3 shards: give --shards 2/,
    ],
    [
      'what no engine keeps',
      `notes: ${'x'.repeat(1_000_001)}\nsweep: { platform.frontends: [1, 2, 4] }\n`,
      {},
      /bytes; kubernetes keeps 1000000/,
    ],
  ])('%s', (_, text, options, message) => {
    const file = join(directory, 'refused.yaml');
    writeFileSync(file, `name: refused\ntitle: Refused\n${text}`);
    const sweep = planSweep(planOf(file), 'kubernetes', { ...OPTIONS, ...options });
    expect(sweep).toMatchObject({ ok: false, error: expect.stringMatching(message) });
  });

  it('a topology by its absolute path', () => {
    const text = readFileSync(based, 'utf8').replace(
      '../backend-per-device.yaml',
      join(root, 'examples', 'backend-per-device.yaml'),
    );
    const file = join(directory, 'absolute.yaml');
    writeFileSync(file, text);
    expect(planSweep(planOf(file), 'swarm', OPTIONS)).toMatchObject({
      error: expect.stringContaining('by a path from'),
    });
  });

  it('a topology that names a file beside it', () => {
    const base = readFileSync(join(root, 'examples', 'backend-per-device.yaml'), 'utf8');
    writeFileSync(join(directory, 'backend-per-device.yaml'), base.replace(/^board: .*$/m, 'board: ./board.yaml'));
    mkdirSync(join(directory, 'experiments'));
    const file = join(directory, 'experiments', 'disk.yaml');
    writeFileSync(file, readFileSync(based, 'utf8'));
    expect(planSweep(planOf(file), 'swarm', OPTIONS)).toMatchObject({
      error: expect.stringContaining('no other file'),
    });
  });
});
