import { connect, type Socket } from 'node:net';

const IHAVEOPT = 0x49484156454f5054n;
export const OPT_GO = 7;
export const OPT_STRUCTURED_REPLY = 8;

/** The start of a request of the transmission phase. */
export interface Sent {
  readonly type: number;
  readonly offset?: number;
  readonly length?: number;
  readonly flags?: number;
  readonly magic?: number;
  readonly payload?: Uint8Array;
}

/** A reply: NBD's error, and the data of a read that succeeded. */
export interface Reply {
  readonly cookie: number;
  readonly error: number;
  readonly data: Buffer;
}

/** An NBD client that says whatever a test wants. Its replies are told apart by their magic numbers. */
export class NbdClient {
  readonly socket: Socket;
  /** Settles when the server has ended the connection. */
  readonly ended: Promise<void>;
  structured = false;
  #arrived: Buffer[] = [];
  #length = 0;
  #waiting: {
    readonly bytes: number;
    readonly resolve: (bytes: Buffer) => void;
    readonly reject: (error: Error) => void;
  }[] = [];
  #cookies = 0;
  #closed = false;
  /** Bytes that each read asked for, by cookie. */
  readonly #reads = new Map<number, number>();

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (bytes) => {
      this.#arrived.push(bytes);
      this.#length += bytes.length;
      this.#give();
    });
    socket.on('error', () => {});
    this.ended = new Promise((resolve) =>
      socket.once('close', () => {
        this.#closed = true;
        this.#give();
        resolve();
      }),
    );
  }

  static connect(path: string): Promise<NbdClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      socket.once('error', reject);
      socket.once('connect', () => resolve(new NbdClient(socket)));
    });
  }

  /** Connects and enters transmission. */
  static async open(path: string, { structured = false } = {}): Promise<NbdClient> {
    const client = await NbdClient.connect(path);
    await client.receive(18);
    const flags = Buffer.alloc(4);
    flags.writeUInt32BE(3);
    client.send(flags);
    if (structured) {
      client.option(OPT_STRUCTURED_REPLY);
      await client.receive(20);
      client.structured = true;
    }
    client.option(OPT_GO, Buffer.alloc(6));
    for (;;) {
      const header = await client.receive(20);
      await client.receive(header.readUInt32BE(16));
      if (header.readUInt32BE(12) === 1) return client;
    }
  }

  send(...bytes: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(bytes));
  }

  option(type: number, data: Uint8Array = Buffer.alloc(0)): void {
    const header = Buffer.alloc(16);
    header.writeBigUInt64BE(IHAVEOPT);
    header.writeUInt32BE(type, 8);
    header.writeUInt32BE(data.length, 12);
    this.send(header, data);
  }

  /** The bytes of a request; its cookie counts up from 0. */
  request({ type, offset = 0, length, flags = 0, magic = 0x25609513, payload = Buffer.alloc(0) }: Sent): Buffer {
    const header = Buffer.alloc(28);
    const bytes = length ?? payload.length;
    if (type === 0) this.#reads.set(this.#cookies, bytes);
    header.writeUInt32BE(magic);
    header.writeUInt16BE(flags, 4);
    header.writeUInt16BE(type, 6);
    header.writeBigUInt64BE(BigInt(this.#cookies), 8);
    header.writeBigUInt64BE(BigInt(offset), 16);
    header.writeUInt32BE(bytes, 24);
    this.#cookies += 1;
    return Buffer.concat([header, payload]);
  }

  /** One request and its reply. */
  async ask(sent: Sent): Promise<Reply> {
    this.send(this.request(sent));
    return this.reply();
  }

  async reply(): Promise<Reply> {
    const magic = await this.receive(4);
    if (magic.readUInt32BE() === 0x67446698) {
      const rest = await this.receive(12);
      const error = rest.readUInt32BE();
      const cookie = Number(rest.readBigUInt64BE(4));
      const read = error === 0 ? (this.#reads.get(cookie) ?? 0) : 0;
      if (this.structured && read > 0)
        throw new Error('a simple reply to a read where structured ones were negotiated');
      return { cookie, error, data: await this.receive(read) };
    }
    if (magic.readUInt32BE() !== 0x668e33ef || !this.structured) throw new Error(`magic ${magic.toString('hex')}`);
    const rest = await this.receive(16);
    const cookie = Number(rest.readBigUInt64BE(4));
    const payload = await this.receive(rest.readUInt32BE(12));
    if (rest.readUInt16BE() !== 1) throw new Error('a chunk that is not the last');
    return rest.readUInt16BE(2) === 1
      ? { cookie, error: 0, data: payload.subarray(8) }
      : { cookie, error: payload.readUInt32BE(), data: Buffer.alloc(0) };
  }

  receive(bytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ bytes, resolve, reject });
      this.#give();
    });
  }

  #give(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || (this.#length < next.bytes && !this.#closed)) return;
      this.#waiting.shift();
      if (this.#length < next.bytes) {
        next.reject(new Error('the server ended the connection'));
        continue;
      }
      const all = this.#arrived.length === 1 ? this.#arrived[0] : Buffer.concat(this.#arrived);
      const bytes = all ?? Buffer.alloc(0);
      this.#arrived = [bytes.subarray(next.bytes)];
      this.#length -= next.bytes;
      next.resolve(bytes.subarray(0, next.bytes));
    }
  }
}
