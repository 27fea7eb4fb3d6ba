import { once } from 'node:events';
import {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ReadStream } from 'node:tty';
import type { ByteStream, StreamSource } from '@remio/base';
import { Prng } from '@remio/base';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openEndpoint, type StreamEndpoint } from './index.js';
import { setSize } from './terminal.js';

let folder = '';
const open: StreamSource[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'remio-'));
});
afterEach(async () => {
  await Promise.all(open.splice(0).map((source) => source.close()));
  rmSync(folder, { recursive: true });
});

/** A line that a test uses: its connections as they come, and what came on the newest. */
class Line {
  readonly streams: ByteStream[] = [];
  readonly sizes: string[] = [];
  received = Buffer.alloc(0);
  gone = false;
  #waiting: (() => void)[] = [];

  constructor(source: StreamSource) {
    source.open({
      connected: (stream) => {
        this.streams.push(stream);
        const changed = (): void => this.#changed();
        stream.handler = { readable: changed, writable: changed, closed: changed };
        this.#changed();
      },
      resized: (cols, rows) => {
        this.sizes.push(`${cols}x${rows}`);
        this.#changed();
      },
      gone: () => {
        this.gone = true;
        this.#changed();
      },
    });
  }

  #changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Waits, reading what comes, until something holds. */
  async until(holds: () => boolean): Promise<void> {
    for (;;) {
      this.#read();
      if (holds()) return;
      await this.#change();
    }
  }

  get stream(): ByteStream {
    const stream = this.streams.at(-1);
    if (stream === undefined) throw new Error('no connection was made');
    return stream;
  }

  #read(): void {
    const room = Buffer.alloc(65_536);
    for (let count = 1; count > 0; ) {
      count = this.streams.at(-1)?.read(room) ?? 0;
      this.received = Buffer.concat([this.received, room.subarray(0, count)]);
    }
  }

  /** Writes everything, waiting where there is no room. */
  async write(bytes: Uint8Array): Promise<void> {
    let at = 0;
    while (at < bytes.length) {
      at += this.stream.write(bytes.subarray(at));
      if (at < bytes.length) await this.#change();
    }
  }
}

const line = async (endpoint: StreamEndpoint): Promise<Line> => {
  const source = await openEndpoint(endpoint, true);
  if (!source.ok) throw new Error(source.error);
  open.push(source.value);
  return new Line(source.value);
};

const random = (bytes: number): Buffer => {
  const all = Buffer.alloc(bytes);
  new Prng(1).fill(all);
  return all;
};

const MiB = 1024 * 1024;

describe('a listened socket', () => {
  it('carries bytes both ways, in order, and the end of each way by itself', async () => {
    const path = join(folder, 'line');
    const server = await line({ kind: 'listen', path });
    const client = connect({ path, allowHalfOpen: true });
    const data = random(4 * MiB);
    const heard: Buffer[] = [];
    client.on('data', (chunk) => heard.push(chunk));
    client.end(data);
    await server.until(() => server.streams[0]?.ended === true);
    expect(server.received.equals(data)).toBe(true);
    expect(server.stream.writable).toBe(true);
    await server.write(data);
    server.stream.end();
    expect(server.stream.write(Buffer.from('late'))).toBe(0);
    await once(client, 'end');
    expect(Buffer.concat(heard).equals(data)).toBe(true);
    await server.until(() => server.stream.closed);
  });

  it('keeps a bounded number of bytes that nobody reads or takes', async () => {
    const path = join(folder, 'line');
    const server = await line({ kind: 'listen', path });
    const client = connect(path);
    client.pause();
    const sent = client.write(random(8 * MiB));
    await server.until(() => server.streams.length === 1);
    let taken = 0;
    for (let count = 1; count > 0; taken += count) count = server.stream.write(random(MiB));
    expect(taken).toBeLessThan(MiB);
    while (server.stream.available < 256 * 1024) await new Promise((resolve) => setImmediate(resolve));
    for (let n = 0; n < 20; n += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(server.stream.available).toBeLessThan(MiB);
    expect(sent).toBe(false);
    client.destroy();
  });

  it('serves one client after the other', async () => {
    const path = join(folder, 'line');
    const server = await line({ kind: 'listen', path });
    const clients = ['one', 'two'].map((name) => {
      const client = connect(path);
      client.end(name);
      return client;
    });
    await server.until(() => server.received.toString() === 'one' && server.stream.ended);
    expect(server.streams).toHaveLength(1);
    server.stream.destroy();
    await server.until(() => server.received.toString() === 'onetwo');
    for (const client of clients) client.destroy();
  });

  it('replaces what a killed process left, and nothing that is in use', async () => {
    const path = join(folder, 'line');
    writeFileSync(path, '');
    await line({ kind: 'listen', path });
    expect(await openEndpoint({ kind: 'listen', path }, true)).toMatchObject({
      ok: false,
      error: expect.stringContaining('in use by another process'),
    });
    await open.pop()?.close();
    expect(existsSync(path)).toBe(false);
  });

  it('says what is wrong with its path', async () => {
    const nowhere = await openEndpoint({ kind: 'listen', path: join(folder, 'none', 'line') }, true);
    expect(nowhere).toMatchObject({ ok: false, error: expect.stringContaining('cannot be listened on') });
    const long = await openEndpoint({ kind: 'listen', path: join(folder, 'x'.repeat(200)) }, true);
    expect(long).toMatchObject({ ok: false, error: expect.stringContaining('the system takes 107') });
  });
});

describe('a socket that is connected to', () => {
  it('is connected to when it is there, and again when the connection is done', async () => {
    const path = join(folder, 'line');
    const client = await line({ kind: 'connect', path });
    const sockets: Socket[] = [];
    const server = createServer((socket) => {
      sockets.push(socket);
      socket.end(`hello ${sockets.length}. `);
    }).listen(path);
    await client.until(() => client.received.toString() === 'hello 1. ' && client.stream.ended);
    client.stream.destroy();
    await client.until(() => client.received.toString() === 'hello 1. hello 2. ');
    server.close();
  });
});

describe('a pseudo-terminal', () => {
  /** Writes at the terminal's side, without blocking this process, which is the other side too. */
  const type = async (path: string, bytes: Uint8Array): Promise<void> => {
    const fd = openSync(path, constants.O_WRONLY | constants.O_NOCTTY | constants.O_NONBLOCK);
    for (let at = 0; at < bytes.length; ) {
      try {
        at += writeSync(fd, bytes, at);
      } catch {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    closeSync(fd);
  };

  it('carries every byte both ways, and waits for whoever does not read', async () => {
    const alias = join(folder, 'tty');
    const pty = await line({ kind: 'pty', alias });
    const data = random(300_000);
    const input = new ReadStream(openSync(alias, constants.O_RDONLY | constants.O_NOCTTY));
    const working = Promise.all([pty.write(data), type(alias, data)]);
    const heard: Buffer[] = [];
    let length = 0;
    const all = new Promise<void>((resolve) => {
      input.on('data', (chunk: Buffer) => {
        heard.push(chunk);
        length += chunk.length;
        if (length === data.length) resolve();
      });
    });
    await all;
    await pty.until(() => pty.received.length === data.length);
    expect(pty.received.equals(data)).toBe(true);
    expect(Buffer.concat(heard).equals(data)).toBe(true);
    await working;
    input.destroy();
  });

  it('takes a bounded number of bytes that nobody reads', async () => {
    const pty = await line({ kind: 'pty', alias: join(folder, 'tty') });
    let taken = 0;
    for (let count = 1; count > 0; taken += count) count = pty.stream.write(random(65_536));
    expect(taken).toBeLessThan(2 * MiB);
  });

  it('stays when its users come and go, and tells what size they give it', async () => {
    const alias = join(folder, 'tty');
    const pty = await line({ kind: 'pty', alias });
    for (const [cols, rows] of [
      [132, 50],
      [40, 10],
    ] as const) {
      const fd = openSync(alias, 'r+');
      setSize(fd, { cols, rows });
      closeSync(fd);
      await pty.until(() => pty.sizes.at(-1) === `${cols}x${rows}`);
    }
    expect(pty.sizes).toEqual(['80x25', '132x50', '40x10']);
    expect(pty.stream.closed).toBe(false);
  });

  it('has a link to it, which goes with it; a file there is refused', async () => {
    const alias = join(folder, 'tty');
    await line({ kind: 'pty', alias });
    expect(readlinkSync(alias)).toMatch(/^\/dev\/pts\/\d+$/);
    await open.pop()?.close();
    expect(existsSync(alias)).toBe(false);
    writeFileSync(alias, 'precious');
    expect(await openEndpoint({ kind: 'pty', alias }, true)).toMatchObject({ ok: false });
    expect(readFileSync(alias, 'utf8')).toBe('precious');
  });
});

describe('files', () => {
  it('are sent from start to end, and appended to', async () => {
    const [input, output] = [join(folder, 'in'), join(folder, 'out')];
    const data = random(3 * MiB);
    writeFileSync(input, data);
    writeFileSync(output, 'before ');
    const files = await line({ kind: 'file', input, output });
    await files.until(() => files.stream.ended);
    expect(files.received.equals(data)).toBe(true);
    await files.write(Buffer.from('after'));
    files.stream.end();
    await files.write(Buffer.from('wards'));
    while (readFileSync(output, 'utf8') !== 'before afterwards') await new Promise((resolve) => setImmediate(resolve));
    files.stream.destroy();
    expect(files.gone).toBe(true);
  });

  it('that are not there are refused; what has no file for it goes nowhere', async () => {
    expect(await openEndpoint({ kind: 'file', input: join(folder, 'none') }, true)).toMatchObject({
      ok: false,
      error: expect.stringContaining('cannot be opened'),
    });
    writeFileSync(join(folder, 'in'), 'x');
    const files = await line({ kind: 'file', input: join(folder, 'in') });
    expect(files.stream.write(Buffer.from('nobody'))).toBe(6);
  });
});
