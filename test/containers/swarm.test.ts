import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { docker, hasEngine } from '../integration/docker.js';
import { freePort } from '../integration/free-port.js';
import { remio, root } from '../integration/run-remio.js';
import { Prometheus, until as within } from './prometheus.js';

const GUESTS = ['guest0', 'guest1', 'guest2', 'guest3'];
const page = readFileSync(join(root, 'docs', 'operations.md'), 'utf8');

/** A command of docs/operations.md, run by a shell; `given` are options that only a test needs. */
function documented(command: string, given = ''): string {
  expect(page.split('\n').map((line) => line.replace(/ +#.*$/, ''))).toContain(command);
  const { status, stdout, stderr } = spawnSync('sh', ['-c', `${command} ${given}`], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, DOCKER_BUILDKIT: '0' },
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) throw new Error(`${command} ended with ${status}:\n${stdout}\n${stderr}`);
  return `${stdout}${stderr}`;
}

/** Running containers of a service of the stack, as the engine of this node knows them. */
const containersOf = (service: string): readonly string[] =>
  docker('ps', '-q', '--filter', `label=com.docker.swarm.service.name=remio_${service}`)
    .out.split('\n')
    .filter((id) => id !== '');

const pidOf = (service: string): number =>
  Number(docker('inspect', '-f', '{{.State.Pid}}', containersOf(service)[0] ?? '').out);

const howTasksAre = (): readonly string[] => [
  docker('stack', 'ps', 'remio', '--format', '{{.Name}} {{.CurrentState}} {{.Error}}').out,
];

const until: typeof within = (what, is, told = () => '') => within(what, is, () => [told(), ...howTasksAre()]);

/** An experiment whose parts a swarm makes. */
class Sweep {
  static readonly STACK = 'remio-sweep';
  readonly file: string;
  readonly whole: string;
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    this.file = join(directory, 'small.yaml');
    this.whole = join(directory, 'whole');
    const measure = 'measure: { warm_up: 1ms, duration: 2ms }\nworkload: { type: mmio }\nrepetitions: 2';
    writeFileSync(this.file, `name: small\ntitle: Small\n${measure}\nsweep: { platform.frontends: [1, 2, 4] }\n`);
  }

  deploy(): void {
    const stack = join(this.#directory, 'stack.yaml');
    const major = Number(docker('version', '-f', '{{.Client.Version}}').out.split('.')[0]);
    // What docs/experiments.md says for clients that know no jobs.
    if (major < 23) writeFileSync(stack, readFileSync(stack, 'utf8').replace(/^ *mode: replicated-job\n/gm, ''));
    const { code, out } = docker('stack', 'deploy', '--resolve-image', 'never', '-c', stack, Sweep.STACK);
    expect(code, out).toBe(0);
  }

  gathered(): boolean {
    return docker('service', 'ps', `${Sweep.STACK}_gather`, '--format', '{{.CurrentState}}').out.includes('Complete');
  }

  /** The folder of the results, copied from the container that gathered them. */
  copied(): string {
    const label = `label=com.docker.swarm.service.name=${Sweep.STACK}_gather`;
    const [id] = docker('ps', '-aq', '--filter', label).out.split('\n');
    const to = join(this.#directory, 'gathered');
    expect(docker('cp', `${id}:/var/lib/remio/results/gathered`, to)).toMatchObject({ code: 0 });
    return to;
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true });
    docker('stack', 'rm', Sweep.STACK);
  }

  /** Removes what can be, and tells what is left: engines leave the containers of jobs, as docs/experiments.md says. */
  left(): string {
    const containers = docker('ps', '-aq', '--filter', `label=com.docker.stack.namespace=${Sweep.STACK}`).out;
    if (containers !== '') docker('rm', ...containers.split('\n'));
    docker('volume', 'rm', `${Sweep.STACK}_results`);
    return docker('volume', 'ls', '-q', '--filter', `name=${Sweep.STACK}`).out;
  }

  told(): readonly string[] {
    const service = (name: string): readonly string[] => ['service', 'logs', '--raw', `${Sweep.STACK}_${name}`];
    return [
      docker('stack', 'ps', '--no-trunc', Sweep.STACK),
      docker(...service('shards')),
      docker(...service('gather')),
    ].map(({ out }) => out);
  }
}

/** Whether this engine is nobody's part of a swarm: one that is somebody's is left alone. */
function isFree(): boolean {
  if (!hasEngine('swarm')) return false;
  const free = docker('info', '-f', '{{.Swarm.LocalNodeState}}').out === 'inactive';
  if (!free && process.env['CI'] === undefined)
    console.warn('swarm: left out, the Docker engine is in a swarm already');
  return free || process.env['CI'] !== undefined;
}

describe.skipIf(!isFree())('a stack of Docker Swarm', () => {
  let prometheus = new Prometheus('');

  const moreVerified = (kind: 'disk' | 'net'): Promise<void> =>
    prometheus.moreVerified(
      GUESTS.map((guest, n) => `${guest} ${kind}${n}`),
      howTasksAre,
    );

  const attached = async (): Promise<number | undefined> => (await prometheus.query('sum(remio_vm_attached)')).get('');

  beforeAll(async () => {
    documented('npm run compose -- build');
    documented('docker swarm init', '--advertise-addr 127.0.0.1');
    documented('docker node update --label-add remio.home=true $(docker node ls -q --filter role=manager)');
    documented('docker stack deploy --resolve-image never -c deploy/swarm/stack.yaml remio');
    const port = await freePort();
    const publish = `docker service update --publish-add mode=host,published=9090,target=9090 remio_prometheus`;
    expect(page).toContain(`\`${publish}\``);
    const published = docker(...publish.replace('=9090,', `=${port},`).split(' ').slice(1), '--detach');
    expect(published).toMatchObject({ code: 0 });
    prometheus = new Prometheus(`http://127.0.0.1:${port}`);
  }, 300_000);

  afterAll(() => {
    // Ends whatever is left of the stack.
    docker('swarm', 'leave', '--force');
    docker('volume', 'rm', 'remio_disks', `${Sweep.STACK}_results`);
  }, 60_000);

  it('does verified I/O: each VM in a container of its own, and memory reached over the stack’s network', async () => {
    const healthy = (): number =>
      docker('ps', '-q', '--filter', 'label=com.docker.stack.namespace=remio', '--filter', 'health=healthy')
        .out.split('\n')
        .filter((id) => id !== '').length;
    await until('all are healthy', () => healthy() === GUESTS.length + 4, healthy);
    await moreVerified('disk');
    await moreVerified('net');
    expect([...(await prometheus.query('remio_mismatches_total > 0', 'vm', 'device'))]).toEqual([]);
    expect(documented('docker stack ps remio')).toContain('Running');
    expect(documented('docker service logs remio_hypervisor')).toMatch(/"vm":"disks".*"msg":"a process attached"/);
  }, 240_000);

  it('gets another backend for one that was killed; its disks go on', async () => {
    const [killed] = containersOf('disks');
    process.kill(pidOf('disks'), 'SIGKILL');
    await until('the swarm starts another', () => containersOf('disks').some((id) => id !== killed));
    await moreVerified('disk');
    await moreVerified('net');
    expect([...(await prometheus.query('remio_mismatches_total > 0', 'vm', 'device'))]).toEqual([]);
  }, 240_000);

  it('has as many frontends as it is scaled to', async () => {
    documented('docker service scale remio_frontend=3', '--detach');
    await until('a frontend has no process', async () => (await attached()) === GUESTS.length + 1, attached);
    docker('service', 'scale', '--detach', 'remio_frontend=4');
    await until('it has one again', async () => (await attached()) === GUESTS.length + 2, attached);
    await moreVerified('net');
  }, 240_000);

  it('comes back whole when its hypervisor was killed', async () => {
    const [killed] = containersOf('hypervisor');
    process.kill(pidOf('hypervisor'), 'SIGKILL');
    await until('the swarm starts another', () => containersOf('hypervisor').some((id) => id !== killed));
    await until('every VM has a process', async () => (await attached()) === GUESTS.length + 2, attached);
    await moreVerified('disk');
    await moreVerified('net');
  }, 240_000);

  it('leaves nothing', async () => {
    documented('docker stack rm remio');
    const left = (): string => docker('ps', '-aq', '--filter', 'label=com.docker.stack.namespace=remio').out;
    await until('no container is left', () => left() === '', left);
    expect(documented('docker volume rm remio_disks')).toBe('remio_disks\n');
    expect(docker('network', 'ls', '-q', '--filter', 'label=com.docker.stack.namespace=remio').out).toBe('');
  }, 120_000);

  it('makes an experiment in parts and gathers them: what one run here makes, to the byte', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'remio-sweep-'));
    const sweep = new Sweep(directory);
    try {
      expect((await remio('experiment', sweep.file, '--out', sweep.whole)).code).toBe(0);
      expect((await remio('experiment', 'render', 'swarm', sweep.file, '--shards', '2', '-o', directory)).code).toBe(0);
      sweep.deploy();
      await within(
        'the parts are gathered',
        () => sweep.gathered(),
        () => sweep.told(),
      );
      const gathered = sweep.copied();
      for (const name of ['runs.json', 'runs.csv', 'report.html']) {
        expect(readFileSync(join(gathered, name), 'utf8'), name).toBe(readFileSync(join(sweep.whole, name), 'utf8'));
      }
    } finally {
      sweep.remove();
    }
    await within(
      'nothing is left',
      () => sweep.left() === '',
      () => sweep.left(),
    );
  }, 120_000);
});
