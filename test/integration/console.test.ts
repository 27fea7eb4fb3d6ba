import { spawn, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RunningRemio, remio, root } from './run-remio.js';
import { hasSocat, randomFile, Socat, sha256, untilLong } from './socat.js';

const MiB = 1024 * 1024;
const BYTES = 10 * MiB;
let folder = '';
const running: RunningRemio[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'remio-console-'));
});

afterEach(async () => {
  for (const one of running.splice(0)) {
    one.process.kill('SIGTERM');
    await one.ended;
  }
  rmSync(folder, { recursive: true, force: true });
});

const path = (name: string): string => join(folder, name);

/** A topology with a console of these ports, and where the guest takes them. */
function consoleTopology(device: readonly string[], driver: readonly string[]): string {
  const list = (ports: readonly string[]): string => ports.map((port) => `{ ${port} }`).join(', ');
  const file = path('topology.yaml');
  writeFileSync(
    file,
    `board: qemu-riscv64-virt
shared_memories:
  console: { size: 1MiB }
vms:
  backend:
    cpus: 1
    remio_devs:
      - name: console
        type: backend
        bind_key: 0
        interrupt: 36
        shmem: { memory: console, base: 0xd0000000 }
        device: { type: console, ports: [${list(device)}] }
  guest:
    cpus: 1
    remio_devs:
      - name: console
        type: frontend
        bind_key: 0
        window: { base: 0xa003e00 }
        interrupt: 79
        shmem: { memory: console, base: 0xd0000000 }
        driver: { type: console, ports: [${list(driver)}] }
`,
  );
  return file;
}

/** Boots a topology; returns when the guest has the ports that it needs. */
async function up(file: string, port: number, engine = 'processes'): Promise<RunningRemio> {
  const one = new RunningRemio(['up', file, '--json', '--engine', engine]);
  running.push(one);
  await one.line((line) => line.includes(`"kind":"console","device":"console","port":${port},"present":true`));
  return one;
}

describe.runIf(hasSocat)('socat on both ends', () => {
  it.each(['processes', 'inproc'])(
    'Unix sockets, engine %s: 10 MB each way at the same time, and the end of each way, arrive as they were sent',
    async (engine) => {
      copyFileSync(join(root, 'deploy', 'topologies', 'console.yaml'), path('console.yaml'));
      await up(path('console.yaml'), 1, engine);
      const [a, b] = [randomFile(path('a'), BYTES), randomFile(path('b'), BYTES)];
      const ends = [
        new Socat('-t60', `OPEN:${a},rdonly!!CREATE:${path('a.got')}`, `UNIX-CONNECT:${path('agent')}`),
        new Socat('-t60', `OPEN:${b},rdonly!!CREATE:${path('b.got')}`, `UNIX-CONNECT:${path('agent-guest')}`),
      ];
      for (const end of ends) expect(await end.ended).toEqual({ code: 0, stderr: '' });
      expect([await sha256(path('a.got')), await sha256(path('b.got'))]).toEqual([await sha256(b), await sha256(a)]);
    },
  );

  it('terminals: 10 MB each way at the same time, and a slow reader loses nothing', async () => {
    await up(consoleTopology(['pty: tty'], ['pty: tty-guest']), 0);
    const [a, b] = [randomFile(path('a'), BYTES), randomFile(path('b'), BYTES)];
    const terminal = (name: string): string => `OPEN:${path(name)},raw,echo=0`;
    const ends = [
      new Socat('-u', `OPEN:${a},rdonly`, terminal('tty')),
      new Socat('-u', `OPEN:${b},rdonly`, terminal('tty-guest')),
      new Socat('-u', terminal('tty-guest'), `CREATE:${path('a.got')}`),
      // Reads a few bytes at a time.
      new Socat('-u', '-b64', terminal('tty'), `CREATE:${path('b.got')}`),
    ];
    await Promise.all([untilLong(path('a.got'), BYTES), untilLong(path('b.got'), BYTES)]);
    await Promise.all(ends.map((end) => end.kill()));
    expect([await sha256(path('a.got')), await sha256(path('b.got'))]).toEqual([await sha256(a), await sha256(b)]);
  });

  it('one client after the other is served by a socket that is listened on', async () => {
    await up(consoleTopology(['listen: line'], ['echo: true']), 0);
    for (const name of ['first', 'second', 'third']) {
      const sent = randomFile(path(name), 100_000);
      const client = new Socat('-t60', `OPEN:${sent},rdonly!!CREATE:${path('got')}`, `UNIX-CONNECT:${path('line')}`);
      await untilLong(path('got'), 100_000);
      await client.kill();
      expect(await sha256(path('got'))).toBe(await sha256(sent));
      rmSync(path('got'));
    }
  });
});

describe('a console', () => {
  it('tells the guest the size that a terminal is given, with and without MULTIPORT', async () => {
    for (const device of [['pty: tty'], ['pty: tty', 'name: log, output: log']]) {
      const one = await up(consoleTopology(device, ['echo: true']), 0);
      await one.line((line) => line.includes('"size":"80x25"'));
      expect(spawnSync('stty', ['-F', path('tty'), 'cols', '132', 'rows', '50']).status).toBe(0);
      await one.line((line) => line.includes('"size":"132x50"'));
      one.process.kill('SIGTERM');
      await one.ended;
    }
  });

  it('leaves no socket, link or process behind', async () => {
    const one = await up(consoleTopology(['pty: tty', 'listen: line'], ['listen: guest', 'connect: nowhere']), 1);
    const names = ['tty', 'line', 'guest'];
    expect(names.filter((name) => existsSync(path(name)))).toEqual(names);
    one.process.kill('SIGTERM');
    await one.ended;
    expect(names.filter((name) => existsSync(path(name)))).toEqual([]);
  });

  it.each(['processes', 'inproc'])('carries files to their ends, engine %s', async (engine) => {
    const [a, b] = [randomFile(path('a'), MiB), randomFile(path('b'), MiB)];
    const file = consoleTopology(['name: files, input: a, output: b.got'], ['port: files, input: b, output: a.got']);
    const ended = await remio('up', file, '--until-done', '--json', '--engine', engine);
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect([await sha256(path('a.got')), await sha256(path('b.got'))]).toEqual([await sha256(a), await sha256(b)]);
  });

  it.each([
    ['processes', 'backend', ['stdio: true'], ['input: a, output: got']],
    ['inproc', 'backend', ['stdio: true'], ['input: a, output: got']],
    ['processes', 'frontend', ['input: a, output: got'], ['stdio: true']],
  ] as const)('has standard input and output, engine %s, at the %s', async (engine, _, device, driver) => {
    writeFileSync(path('a'), 'from the file');
    const file = consoleTopology(device, driver);
    const main = join(root, 'apps', 'cli', 'dist', 'main.js');
    const command = spawn(process.execPath, [main, 'up', file, '--json', '--engine', engine], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    let shown = '';
    command.stdout.setEncoding('utf8').on('data', (text: string) => {
      shown += text;
    });
    command.stdin.end('from standard input');
    await untilLong(path('got'), 'from standard input'.length);
    while (shown.length < 'from the file'.length) await new Promise((resolve) => command.stdout.once('data', resolve));
    command.kill('SIGTERM');
    await new Promise((resolve) => command.once('close', resolve));
    expect([shown, readFileSync(path('got'), 'utf8')]).toEqual(['from the file', 'from standard input']);
  });

  it('a mistake in a topology is told with its place', async () => {
    const ended = await remio('check', consoleTopology(['listen: here', 'pty: here'], ['stdio: true']));
    expect(ended.code).toBe(2);
    expect(ended.stdout).toContain('error[line]');
    expect(ended.stdout).toContain(`${path('here')} is where a line of console leads already`);
  });
});
