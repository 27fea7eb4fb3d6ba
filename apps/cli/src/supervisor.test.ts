import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { deferred } from './deferred.js';
import { type ChildEvent, restartPause, Supervisor } from './supervisor.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** A process that says that it is ready, and then does as told. */
function entry(name: string, then: string): string {
  const file = join(scratch, `${name}.cjs`);
  writeFileSync(file, `process.send('ready'); ${then}`);
  return file;
}

describe('a supervisor', () => {
  it('starts a process again at once, and waits twice as long each time that it fails again', () => {
    expect([0, 1, 2, 3, 4].map(restartPause)).toEqual([0, 100, 200, 400, 800]);
  });

  it('gives a process up that fails again and again, and says so', async () => {
    const events: ChildEvent[] = [];
    const givenUp = deferred<void>();
    const supervisor = new Supervisor(scratch, (event) => {
      events.push(event);
      if (event.kind === 'ended' && event.how.startsWith('given up')) givenUp.resolve(undefined);
    });
    await supervisor.start({ name: 'failing', entry: entry('failing', 'process.exit(7)'), args: [], restart: true });
    await givenUp.promise;
    await supervisor.stop();
    expect(events.filter(({ kind }) => kind === 'started')).toHaveLength(6);
    expect(events.at(-1)).toMatchObject({ name: 'failing', how: 'given up after 5 restarts in 30 s', failed: true });
  });

  it('gives its processes the flags that containers have, then those that it was given itself', async () => {
    const told = join(scratch, 'flags.json');
    const write = `require('node:fs').writeFileSync(${JSON.stringify(told)}, JSON.stringify(process.execArgv))`;
    const ended = deferred<void>();
    const supervisor = new Supervisor(scratch, (event) => {
      if (event.kind === 'ended') ended.resolve(undefined);
    });
    await supervisor.start({
      name: 'telling',
      entry: entry('telling', `${write}; process.exit(0)`),
      args: [],
      restart: false,
    });
    await ended.promise;
    await supervisor.stop();
    const run = readFileSync(join(import.meta.dirname, '../../../deploy/run.sh'), 'utf8');
    const [, containers = ''] = /^node=\(node (.+)\)$/m.exec(run) ?? [];
    expect(containers).toContain('--no-allocation-site-pretenuring');
    expect(JSON.parse(readFileSync(told, 'utf8'))).toEqual([...containers.split(' '), ...process.execArgv]);
  });

  it('says what may be wrong with the host where a process touched memory that is not there', async () => {
    const ended = deferred<ChildEvent>();
    const supervisor = new Supervisor(scratch, (event) => {
      if (event.kind === 'ended') ended.resolve(event);
    });
    const touches = entry('touches', "process.kill(process.pid, 'SIGBUS')");
    await supervisor.start({ name: 'touches', entry: touches, args: [], restart: false }).catch(() => {});
    expect(await ended.promise).toMatchObject({ failed: true, how: expect.stringMatching(/^SIGBUS .*no room left/) });
    await supervisor.stop();
  });

  it('starts a process again that it has killed itself, and says so', async () => {
    const events: ChildEvent[] = [];
    const again = deferred<void>();
    const supervisor = new Supervisor(scratch, (event) => {
      events.push(event);
      if (events.length === 3) again.resolve(undefined);
    });
    const waits = entry('stuck', 'setInterval(() => {}, 1000);');
    await supervisor.start({ name: 'stuck', entry: waits, args: [], restart: true });
    supervisor.kill('stuck');
    await again.promise;
    expect(events).toMatchObject([
      { kind: 'started' },
      { kind: 'ended', how: 'SIGKILL', failed: true, restarts: true },
      { kind: 'started' },
    ]);
    await supervisor.stop();
  });

  it('starts a process that waits to be started again no more once it was stopped', async () => {
    const ended = deferred<void>();
    let started = 0;
    const supervisor = new Supervisor(scratch, (event) => {
      if (event.kind === 'started') started += 1;
      // The first restart is at once; the second one waits.
      else if (started === 2) ended.resolve(undefined);
    });
    await supervisor.start({ name: 'waiting', entry: entry('waiting', 'process.exit(7)'), args: [], restart: true });
    await ended.promise;
    // Told of the end, the supervisor arms the pause in the same turn.
    await supervisor.stop();
    await new Promise((resolve) => setTimeout(resolve, 5 * restartPause(1)));
    expect(started).toBe(2);
  });

  it('starts nothing any more once it was stopped, and ends the last process last', async () => {
    const events: ChildEvent[] = [];
    const supervisor = new Supervisor(scratch, (event) => events.push(event));
    const waits = entry('waits', 'setInterval(() => {}, 1000);');
    await supervisor.start({ name: 'first', entry: waits, args: [], restart: true, last: true });
    await supervisor.start({ name: 'second', entry: waits, args: [], restart: true });
    await supervisor.stop();
    expect(events.filter(({ kind }) => kind === 'ended').map(({ name }) => name)).toEqual(['second', 'first']);
    await expect(supervisor.start({ name: 'third', entry: waits, args: [], restart: true })).rejects.toThrow('stopped');
    expect(supervisor.pids().size).toBe(0);
    expect(readdirSync(scratch)).toContain('first.log');
  });
});
