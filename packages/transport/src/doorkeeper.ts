import { encodeKey } from '@remio/protocol';
import { type Context, Reply } from 'zeromq';

/** What libzmq asks at, in the context of its socket (ZeroMQ RFC 27, ZAP). */
const ZAP_ENDPOINT = 'inproc://zeromq.zap.01';
const ZAP_VERSION = '1.0';
/** Every request must name it: a socket that nobody protects asks in vain. */
export const ZAP_DOMAIN = 'remio';
const ZAP_GRANTED = '200';
const ZAP_DENIED = '400';

/** Bytes of a key. */
const KEY_BYTES = 32;

/** Lets connections in whose key is known. Which VM such a key is for is another matter: libzmq does not tell. */
export class Doorkeeper {
  readonly #socket: Reply;
  readonly #known: ReadonlySet<string>;
  readonly #onRefused: (reason: string) => void;
  #closed = false;

  private constructor(socket: Reply, known: Iterable<string>, onRefused: (reason: string) => void) {
    this.#socket = socket;
    this.#known = new Set(known);
    this.#onRefused = onRefused;
  }

  /**
   * Answers from now on for the sockets of a context, which is to have no other doorkeeper.
   * @param known public keys
   * @param onRefused told of everybody who is turned away: for the log
   */
  static async of(context: Context, known: Iterable<string>, onRefused: (reason: string) => void): Promise<Doorkeeper> {
    const socket = new Reply({ context, linger: 0 });
    await socket.bind(ZAP_ENDPOINT);
    const doorkeeper = new Doorkeeper(socket, known, onRefused);
    void doorkeeper.#serve();
    return doorkeeper;
  }

  close(): void {
    this.#closed = true;
    this.#socket.close();
  }

  async #serve(): Promise<void> {
    try {
      while (!this.#closed) await this.#answer(await this.#socket.receive());
    } catch (error) {
      // A closed socket ends its receive; anything else is a mistake of ours.
      if (!this.#closed) throw error;
    }
  }

  async #answer([version, request, domain, address, , mechanism, key]: readonly Buffer[]): Promise<void> {
    const wanted = String(version) === ZAP_VERSION && String(domain) === ZAP_DOMAIN && String(mechanism) === 'CURVE';
    const shown = key?.length === KEY_BYTES ? encodeKey(key) : undefined;
    const granted = wanted && shown !== undefined && this.#known.has(shown);
    if (!granted) this.#onRefused(`a peer at ${address}: its key ${shown ?? ''} is none of the topology's`);
    const [status, text] = granted ? [ZAP_GRANTED, ''] : [ZAP_DENIED, 'unknown key'];
    await this.#socket.send([ZAP_VERSION, request ?? '', status, text, '', '']);
  }
}
