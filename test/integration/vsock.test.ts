import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RunningRemio, root } from './run-remio.js';
import { hasSocat, randomFile, Socat, sha256, until } from './socat.js';

const MB = 1_000_000;
let folder = '';
let running: RunningRemio | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'remio-vsock-'));
});

afterEach(async () => {
  running?.process.kill('SIGTERM');
  await running?.ended;
  running = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const path = (name: string): string => join(folder, name);

const up = async (engine: string): Promise<void> => {
  copyFileSync(join(root, 'deploy', 'topologies', 'vsock.yaml'), path('vsock.yaml'));
  running = new RunningRemio(['up', path('vsock.yaml'), '--json', '--engine', engine]);
  await running.line((line) => line.includes('"kind":"vsock"'));
};

/** Everything that a socket says until it ends. */
const said = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    let text = '';
    socket.setEncoding('latin1').on('data', (part: string) => {
      text += part;
    });
    socket.once('close', () => resolve(text));
  });

describe.runIf(hasSocat)('socat through a socket device', () => {
  it.each(['processes', 'inproc'])('guest to host, 100 MB with a slow reader, engine %s', async (engine) => {
    await up(engine);
    const sent = randomFile(path('sent'), 100 * MB);
    // A small block a time: the reader is what everybody waits for.
    const reader = new Socat('-u', '-b1024', `UNIX-LISTEN:${path('vm3_6000')}`, `CREATE:${path('got')}`);
    await until(() => existsSync(path('vm3_6000')));
    const writer = new Socat('-u', `OPEN:${sent},rdonly`, `UNIX-CONNECT:${path('guest-6000')}`);
    for (const end of [writer, reader]) expect(await end.ended).toEqual({ code: 0, stderr: '' });
    expect(await sha256(path('got'))).toBe(await sha256(sent));
  });

  it('host to guest after CONNECT, 10 MB each way at the same time, with the end of each way', async () => {
    await up('processes');
    const [a, b] = [randomFile(path('a'), 10 * MB), randomFile(path('b'), 10 * MB)];
    const guest = new Socat('-t60', `OPEN:${b},rdonly!!CREATE:${path('a.got')}`, `UNIX-LISTEN:${path('guest-5000')}`);
    await until(() => existsSync(path('guest-5000')));
    const head = path('head');
    writeFileSync(head, 'CONNECT 5000\n');
    const host = new Socat('-t60', `SYSTEM:cat ${head} ${a}!!CREATE:${path('b.got')}`, `UNIX-CONNECT:${path('vm3')}`);
    for (const end of [guest, host]) expect((await end.ended).code).toBe(0);
    expect(await sha256(path('a.got'))).toBe(await sha256(a));
    const heard = readFileSync(path('b.got'));
    const line = heard.subarray(0, heard.indexOf('\n') + 1);
    expect(line.toString()).toMatch(/^OK \d+\n$/);
    expect(heard.subarray(line.length).equals(readFileSync(b))).toBe(true);
  });
});

describe('two guests of a group', () => {
  it.each(['processes', 'inproc'])(
    'reach each other by CID, 4 MB each way at the same time, engine %s',
    async (engine) => {
      copyFileSync(join(root, 'deploy', 'topologies', 'vsock-guests.yaml'), path('guests.yaml'));
      running = new RunningRemio(['up', path('guests.yaml'), '--json', '--engine', engine]);
      for (const cid of [3, 4])
        await running.line((line) => line.includes(`"kind":"vsock"`) && line.includes(`"cid":${cid}`));
      const [a, b] = [Buffer.alloc(4 * MB, 'to guest 4 '), Buffer.alloc(4 * MB, 'to guest 3 ')];
      const heard = new Promise<string>((resolve) => {
        createServer({ allowHalfOpen: true }, (socket) => {
          void said(socket).then(resolve);
          socket.end(b);
        }).listen(path('back.sock'));
      });
      const client = connect({ path: path('front.sock'), allowHalfOpen: true });
      client.end(a);
      expect(await said(client)).toBe(b.toString());
      expect(await heard).toBe(a.toString());
    },
  );

  it('are refused where nobody listens', async () => {
    copyFileSync(join(root, 'deploy', 'topologies', 'vsock-guests.yaml'), path('guests.yaml'));
    running = new RunningRemio(['up', path('guests.yaml'), '--json', '--engine', 'inproc']);
    for (const cid of [3, 4])
      await running.line((line) => line.includes(`"kind":"vsock"`) && line.includes(`"cid":${cid}`));
    expect(await said(connect(path('front.sock')))).toBe('');
  });
});

describe('a socket device', () => {
  it('answers CONNECT with OK and the port of the host; data that follows at once arrives', async () => {
    await up('inproc');
    const heard = new Promise<string>((resolve) => {
      createServer((socket) => {
        void said(socket).then(resolve);
        socket.end('from the guest');
      }).listen(path('guest-5000'));
    });
    const client = connect(path('vm3'));
    client.end('CONNECT 5000\nfrom the host');
    expect(await said(client)).toMatch(/^OK \d+\nfrom the guest$/);
    expect(await heard).toBe('from the host');
  });

  it.each([
    ['a port that nobody listens on', 'CONNECT 5001\n'],
    ['a program that is not there', 'CONNECT 5000\n'],
    ['another word', 'HELLO 5000\n'],
    ['a number that is no port', 'CONNECT 4294967296\n'],
    ['a line without end', 'CONNECT '.repeat(100)],
  ])('closes the connection for %s', async (_, line) => {
    await up('inproc');
    const client = connect(path('vm3'));
    client.on('error', () => {});
    client.write(line);
    expect(await said(client)).toBe('');
  });

  it('refuses a guest that connects to a port of the host where nobody is', async () => {
    await up('inproc');
    expect(await said(connect(path('guest-6000')))).toBe('');
  });
});
