import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { chownSync, cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Prng } from '@remio/base';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { docker, hasEngine } from '../integration/docker.js';
import { freePort } from '../integration/free-port.js';
import { root } from '../integration/run-remio.js';
import { Prometheus, until as within } from './prometheus.js';

const main = join(root, 'apps', 'cli', 'dist', 'main.js');
const PROJECT = `remio-test-${process.pid}`;
/** Another run with the same one chooses the same victims, ways and pauses: `REMIO_SEED=…`. */
const seed = Number(process.env['REMIO_SEED'] ?? randomInt(2 ** 31));
/** Blows against containers, and the services whose containers are struck. */
const BLOWS = 10;
const VICTIMS = ['disks', 'lan', 'frontend'] as const;
const GUESTS = ['guest0', 'guest1', 'guest2', 'guest3'];

let port = 0;
let prometheus = new Prometheus('');

const page = readFileSync(join(root, 'docs', 'operations.md'), 'utf8');

/** `npm run compose -- …`, a command of docs/operations.md. */
function compose(command: string): string {
  const args = command.split(' ');
  expect(page).toMatch(new RegExp(`^npm run compose -- ${command}( *#.*)?$`, 'm'));
  const env = {
    ...process.env,
    COMPOSE_PROJECT_NAME: PROJECT,
    REMIO_PROMETHEUS_PORT: String(port),
    DOCKER_BUILDKIT: '0',
  };
  const { status, stdout, stderr } = spawnSync('npm', ['run', '--silent', 'compose', '--', ...args], {
    cwd: root,
    env,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (status !== 0) throw new Error(`compose ${command} ended with ${status}:\n${stdout}\n${stderr}`);
  return `${stdout}${stderr}`;
}

/** A container of the project. */
interface Container {
  readonly id: string;
  readonly service: string;
  readonly state: {
    readonly Status: string;
    readonly Pid: number;
    readonly ExitCode: number;
    readonly Health?: { readonly Status: string };
  };
  readonly restarts: number;
}

function containers(): readonly Container[] {
  const ids = docker('ps', '-aq', '--filter', `label=com.docker.compose.project=${PROJECT}`).out.split('\n');
  const known = ids.filter((id) => id !== '');
  if (known.length === 0) return [];
  const { out } = docker('inspect', ...known);
  const inspected = JSON.parse(out) as readonly {
    readonly Id: string;
    readonly Config: { readonly Labels: Readonly<Record<string, string>> };
    readonly State: Container['state'];
    readonly RestartCount: number;
  }[];
  return inspected.map(({ Id, Config, State, RestartCount }) => ({
    id: Id,
    service: Config.Labels['com.docker.compose.service'] ?? '',
    state: State,
    restarts: RestartCount,
  }));
}

const containerOf = (service: string): Container => {
  const found = containers().find((container) => container.service === service);
  if (found === undefined) throw new Error(`no container of ${service}`);
  return found;
};

/** Waits until something is so; says how the containers are when patience ends. */
const until: typeof within = (what, is, told = () => '') => within(what, is, () => [told(), ...howContainersAre()]);

const howContainersAre = (): readonly string[] => [
  docker('ps', '-a', '--filter', `label=com.docker.compose.project=${PROJECT}`).out,
  compose('logs --tail=15'),
];

/** Waits until the disks or the networks of all guests have verified more than they had. */
const moreVerified = (kind: 'disk' | 'net'): Promise<void> =>
  prometheus.moreVerified(
    GUESTS.map((guest, n) => `${guest} ${kind}${n}`),
    howContainersAre,
  );

const query: Prometheus['query'] = (expr, ...labels) => prometheus.query(expr, ...labels);

describe.skipIf(!hasEngine('compose'))('npm run compose', () => {
  beforeAll(async () => {
    port = await freePort();
    prometheus = new Prometheus(`http://127.0.0.1:${port}`);
    compose('build');
  }, 300_000);

  afterAll(() => {
    compose('down --volumes --timeout 2');
  }, 60_000);

  it('boots a hypervisor, two backends and four frontends, which do verified I/O', async () => {
    compose('up -d');
    const healthy = ['hypervisor', 'disks', 'lan', 'frontend', 'frontend', 'frontend', 'frontend', 'prometheus'].sort();
    const are = (): readonly string[] =>
      containers()
        .filter(({ state }) => state.Health?.Status === 'healthy')
        .map(({ service }) => service)
        .sort();
    await until('all are healthy', () => JSON.stringify(are()) === JSON.stringify(healthy), are);
    expect(compose('ps')).toContain('healthy');
    expect(containerOf('make-disks').state).toMatchObject({ Status: 'exited', ExitCode: 0 });
    await moreVerified('disk');
    await moreVerified('net');
    expect(compose('logs --tail=15')).toMatch(/"level":"info".*"vm":"disks".*"msg":"a process attached"/);
    expect([...(await query('remio_mismatches_total > 0', 'vm', 'device'))]).toEqual([]);
    expect([...(await query('up == 0', 'instance'))]).toEqual([]);
  }, 240_000);

  it('runs without root, without capabilities, on a file system that cannot be written', () => {
    const { id } = containerOf('disks');
    expect(docker('exec', id, 'id', '-u').out).toBe('1000');
    expect(docker('exec', id, 'grep', 'CapEff', '/proc/1/status').out).toMatch(/0000000000000000$/);
    expect(docker('exec', id, 'touch', '/app/x').out).toMatch(/Read-only file system/);
    expect(docker('exec', id, 'stat', '-c', '%a', '/run/remio').out).toBe('700');
  });

  it('gives no VM to an instance too many, which ends with code 3 and names the limit', async () => {
    compose('up -d --no-recreate --scale frontend=5');
    let surplus: string | undefined;
    await until('the fifth ends with code 3', () => {
      surplus ??= containers().find(({ service, state }) => service === 'frontend' && state.ExitCode === 3)?.id;
      return surplus !== undefined;
    });
    expect(docker('logs', surplus ?? '').out).toMatch(/4 frontend VMs .*guest0, guest1, guest2, guest3/);
    compose('up -d --no-recreate --scale frontend=4');
    await moreVerified('net');
  }, 240_000);

  it('starts a backend again that was killed; its disks go on, and so does the network all the time', async () => {
    const { restarts, state } = containerOf('disks');
    const faults = await query('sum(remio_mismatches_total)');
    process.kill(state.Pid, 'SIGKILL');
    await until('the engine starts it', () => containerOf('disks').restarts > restarts);
    await moreVerified('net');
    const restarted = async (): Promise<boolean> =>
      ((await query('remio_vm_restarts_total{vm="disks"}', 'vm')).get('disks') ?? 0) > 0;
    await until('the hypervisor gives it its VM', restarted);
    await moreVerified('disk');
    expect(await query('sum(remio_mismatches_total)')).toEqual(faults);
    expect(await query('remio_vm_restarts_total{vm="lan"}', 'vm')).toEqual(new Map([['lan', 0]]));
  }, 240_000);

  it(`loses nothing by ${BLOWS} blows at random moments: seed ${seed}`, async () => {
    console.log(`REMIO_SEED=${seed} npx vitest run --project containers test/containers/compose.test.ts`);
    const prng = new Prng(seed);
    const struck: string[] = [];
    for (let blow = 0; blow < BLOWS; blow += 1) {
      const service = VICTIMS[prng.below(VICTIMS.length)] ?? 'disks';
      // One that is not running has process id 0, which is everybody in this test's group.
      const mine = containers().filter((each) => each.service === service && each.state.Pid > 0);
      const victim = mine[prng.below(mine.length)];
      const killed = prng.below(3) > 0;
      if (victim === undefined) throw new Error(`no container of ${service} runs`);
      await sleep(prng.below(1500));
      if (killed) process.kill(victim.state.Pid, 'SIGKILL');
      else {
        process.kill(victim.state.Pid, 'SIGSTOP');
        await sleep(200 + prng.below(600));
        process.kill(victim.state.Pid, 'SIGCONT');
      }
      struck.push(`${service} ${killed ? 'killed' : 'stopped for a while'}`);
      await moreVerified('disk');
      await moreVerified('net');
    }
    console.log(struck.join(', '));
    // Counts end with their process, but Prometheus has seen them.
    expect([...(await query('max_over_time(remio_mismatches_total[30m]) > 0', 'vm', 'device'))]).toEqual([]);
  }, 600_000);

  it('ends accesses to a frozen backend at their deadline, raises alerts, and takes it again', async () => {
    const { restarts } = containerOf('lan');
    compose('pause lan');
    const told = new Set<string>();
    const alerts = async (): Promise<boolean> => {
      for (const name of await prometheus.firing()) told.add(name);
      return told.has('RemioDeadlineMissed') && told.has('RemioBackendGone');
    };
    await until('deadlines and alerts', alerts, () => [...told]);
    await moreVerified('disk');
    compose('unpause lan');
    // It was cut off while it was silent, so it ends, and comes back as another.
    await until('it comes back', () => containerOf('lan').restarts > restarts);
    await moreVerified('net');
    await until('the alert ends', async () => !(await prometheus.firing()).includes('RemioBackendGone'));
    expect([...(await query('remio_mismatches_total > 0', 'vm', 'device'))]).toEqual([]);
  }, 240_000);

  it('comes back whole when its hypervisor was killed', async () => {
    const { restarts, state } = containerOf('hypervisor');
    process.kill(state.Pid, 'SIGKILL');
    await until('the engine starts it', () => containerOf('hypervisor').restarts > restarts);
    const absent = async (): Promise<ReadonlyMap<string, number>> => query('remio_vm_attached == 0', 'vm');
    await until(
      'every VM has a process',
      async () => (await query('sum(remio_vm_attached)')).get('') === GUESTS.length + 2,
      async () => [...(await absent())],
    );
    await moreVerified('disk');
    await moreVerified('net');
  }, 240_000);

  it('leaves nothing', () => {
    compose('down --volumes --timeout 2');
    const filter = ['--filter', `label=com.docker.compose.project=${PROJECT}`];
    expect(docker('ps', '-aq', ...filter).out).toBe('');
    expect(docker('volume', 'ls', '-q', ...filter).out).toBe('');
    expect(docker('network', 'ls', '-q', ...filter).out).toBe('');
  }, 60_000);

  it('runs a topology with keys: each container has its own as secrets, and one without gets nothing', () => {
    const directory = mkdtempSync(join(tmpdir(), 'remio-guarded-'));
    const file = join(directory, 'guarded.yaml');
    cpSync(join(root, 'deploy', 'topologies', 'entropy.yaml'), file);
    const keys = join(directory, 'keys');
    const remio = (...args: readonly string[]): void => {
      const { status, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
      if (status !== 0) throw new Error(`remio ${args.join(' ')}: ${stderr}`);
    };
    remio('keys', file, '-o', keys, '--write');
    // Files are mounted with their owner: the user of the containers.
    for (const path of [keys, ...readdirSync(keys).map((name) => join(keys, name))]) chownSync(path, 1000, 1000);
    remio('deploy', 'render', 'compose', file, '--keys', keys, '-o', directory);
    const [program = '', ...before] =
      docker('compose', 'version').code === 0 ? ['docker', 'compose'] : ['docker-compose'];
    const guarded = (...args: readonly string[]) => {
      const project = ['-f', join(directory, 'compose.yaml'), '-p', `${PROJECT}-guarded`];
      const { status, stdout, stderr } = spawnSync(program, [...before, ...project, ...args], { encoding: 'utf8' });
      return { code: status, out: `${stdout}${stderr}` };
    };
    try {
      // It is up when its backend is healthy, which has to be let in for that; the frontend is started after that.
      expect(guarded('up', '-d', '--no-build', 'hypervisor', 'backend', 'frontend')).toMatchObject({ code: 0 });
      const secrets = guarded('exec', '-T', 'backend', 'stat', '-c', '%a %n', '/run/secrets/vm-backend.key_secret');
      expect(secrets.out.trim()).toBe('600 /run/secrets/vm-backend.key_secret');
      expect(guarded('exec', '-T', 'backend', 'ls', '/run/secrets').out.trim()).toBe('vm-backend.key_secret');
      const command = ['frontend-vm', '--topology', '/etc/remio/guarded.yaml', '--claim', 'frontend'];
      const connect = ['--connect', 'ipc:///run/remio/hypervisor.sock'];
      const without = guarded('run', '--rm', '--no-deps', '-T', 'frontend', ...command, ...connect);
      expect(without).toMatchObject({ code: 3, out: expect.stringContaining('--keys DIR') });
    } finally {
      guarded('down', '--volumes', '--timeout', '2');
      rmSync(directory, { recursive: true, force: true });
    }
  }, 240_000);
});
