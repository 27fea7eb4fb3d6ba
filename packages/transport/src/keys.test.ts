import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert, cpuId, requestId, vmId } from '@remio/base';
import {
  type ControlMessage,
  type CurveKeyPair,
  decodeControl,
  encodeVmMessage,
  greetingDigest,
  OBSERVER,
  PROTOCOL_VERSION,
  proofKey,
  proofOf,
} from '@remio/protocol';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dealer } from 'zeromq';
import { Connection, type HypervisorKeys, Listener, makeKeyPair, type Peer, type PeerKeys } from './index.js';
import { Relay } from './testing/relay.js';

const DIGEST: string = 'the digest of the topology';
const hypervisor = makeKeyPair();
const pairs: ReadonlyMap<string, CurveKeyPair> = new Map(
  [OBSERVER, 'backend', 'guest0', 'guest1'].map((name) => [name, makeKeyPair()]),
);
const pairOf = (name: string): CurveKeyPair => {
  const pair = pairs.get(name);
  assert(pair !== undefined, `there is a ${name}`);
  return pair;
};
const HYPERVISOR_KEYS: HypervisorKeys = {
  own: hypervisor,
  peers: new Map([...pairs].map(([name, { publicKey }]) => [name, publicKey])),
};
const keysOf = (...names: readonly string[]): PeerKeys => ({
  hypervisor: hypervisor.publicKey,
  own: new Map(names.map((name) => [name, pairOf(name)])),
});

const attached: Peer[] = [];
let records = 0;
const refused: { readonly reason: string; readonly vms: readonly string[] }[] = [];
let directory = '';
let endpoint = '';
let listener: Listener | undefined;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'remio-keys-'));
  endpoint = `ipc://${join(directory, 'hypervisor')}`;
  listener = await Listener.bind(
    endpoint,
    DIGEST,
    {
      admit: (vms) =>
        attached.some((peer) => peer.vms.some((vm) => vms.includes(vm)))
          ? { code: 'vm-taken', reason: 'taken' }
          : undefined,
      choose: (kind, among) => {
        const free = ['guest0', 'guest1'].find(
          (vm) => among?.has(vm) && !attached.some((peer) => peer.vms.includes(vm)),
        );
        return free === undefined ? { code: 'none-free', reason: `no ${kind} is free` } : [free];
      },
      onAttached: (peer) => attached.push(peer),
      onRecords: (_, { length }) => {
        records += length;
      },
      onReport: () => {},
      onQuery: (what) => what,
      onLost: (peer) => attached.splice(attached.indexOf(peer), 1),
      onRefused: (reason, vms) => refused.push({ reason, vms }),
    },
    HYPERVISOR_KEYS,
  );
});
afterAll(() => {
  listener?.close();
  rmSync(directory, { recursive: true, force: true });
});

const attach = (claim: readonly string[] | 'frontend', keys?: PeerKeys, digest = DIGEST, at = endpoint) =>
  Connection.attach(at, digest, claim, { onRecords: () => {}, onLost: () => {} }, keys);

/** Attaches, looks at what it got, and is gone. */
async function granted(claim: readonly string[] | 'frontend', keys: PeerKeys): Promise<readonly string[]> {
  const connection = await attach(claim, keys);
  assert(connection.ok, connection.ok ? '' : connection.error.reason);
  // Answered only when what was said before has been dealt with.
  expect(await connection.value.query('there', null)).toMatchObject({ ok: true });
  await leave(connection.value);
  return connection.value.vms;
}

async function leave(connection: Connection): Promise<void> {
  connection.detach('done');
  while (attached.length > 0) await new Promise((resolve) => setImmediate(resolve));
}

/** A peer that says what it likes, over a connection that its key opens. */
class Raw {
  readonly #dealer: Dealer;

  constructor(name: string, options: { readonly routingId?: string } = {}) {
    const { publicKey, secretKey } = pairOf(name);
    this.#dealer = new Dealer({
      curveServerKey: hypervisor.publicKey,
      curvePublicKey: publicKey,
      curveSecretKey: secretKey,
      linger: 0,
      receiveTimeout: 10_000,
      ...options,
    });
    this.#dealer.connect(endpoint);
  }

  async say(frame: Uint8Array): Promise<void> {
    await this.#dealer.send(Buffer.from(frame));
  }

  async hear(): Promise<ControlMessage> {
    const [frame] = await this.#dealer.receive();
    const decoded = decodeControl(frame ?? Buffer.of());
    assert(decoded.ok, 'the hypervisor says what is a frame');
    return decoded.value.kind === 'heartbeat' ? this.hear() : decoded.value;
  }

  async ask(message: ControlMessage): Promise<ControlMessage> {
    await this.say(encodeVmMessage(message));
    return this.hear();
  }

  /** The nonce that follows a greeting. */
  async challenged(greeting: ControlMessage): Promise<Uint8Array> {
    const answer = await this.ask(greeting);
    assert(answer.kind === 'challenge', `a challenge follows, not ${answer.kind}`);
    return answer.nonce;
  }

  close(): void {
    this.#dealer.close();
  }
}

const hello = (...vms: readonly string[]) =>
  ({ kind: 'hello', version: PROTOCOL_VERSION, digest: DIGEST, vms }) as const;

/** A proof of a name, with the key of another perhaps. */
const proofBy = (key: string, nonce: Uint8Array, greeting: ControlMessage, name = key) => ({
  name,
  proof: proofOf(proofKey(pairOf(key), hypervisor.publicKey, 'peer'), nonce, greetingDigest(encodeVmMessage(greeting))),
});

async function raw<T>(name: string, run: (peer: Raw) => Promise<T>): Promise<T> {
  const peer = new Raw(name);
  try {
    return await run(peer);
  } finally {
    peer.close();
  }
}

const DENIED = { kind: 'refused', code: 'denied', reason: expect.any(String) };

describe('with keys, the hypervisor', () => {
  it('gives a VM to who has its key, several to who has each, and lets an observer watch', async () => {
    expect(await granted(['guest0'], keysOf('guest0'))).toEqual(['guest0']);
    expect(await granted(['guest0', 'guest1'], keysOf('guest0', 'guest1'))).toEqual(['guest0', 'guest1']);
    expect(await granted([], keysOf(OBSERVER))).toEqual([]);
  });

  it('answers who watches, and nobody whose key is a VM\u2019s', async () => {
    for (const [claim, name, answer] of [
      [[], OBSERVER, 'status'],
      [['guest0'], 'guest0', { error: expect.stringContaining('only observers') }],
    ] as const) {
      const connection = await attach(claim, keysOf(name));
      assert(connection.ok, 'the key is right');
      expect(await connection.value.query('status', null)).toEqual({ ok: true, value: answer });
      await leave(connection.value);
    }
  });

  it('gives any VM of a kind only out of those whose keys the process has', async () => {
    expect(await granted('frontend', keysOf('guest1'))).toEqual(['guest1']);
    expect(await granted('frontend', keysOf('guest1', 'guest0'))).toEqual(['guest0']);
    expect(await attach('frontend', keysOf('backend'))).toMatchObject({ error: { code: 'none-free' } });
  });

  it('gives nothing to who has a key, but not that of what it asks for, and says why in the log', async () => {
    refused.length = 0;
    expect(await attach(['guest1'], keysOf('guest0'))).toMatchObject({ error: { code: 'denied' } });
    expect(await attach(['guest0', 'guest1'], keysOf('guest0'))).toMatchObject({ error: { code: 'denied' } });
    // A VM's process is no observer.
    expect(await attach([], keysOf('guest0'))).toMatchObject({ error: { code: 'denied' } });
    expect(await attach(['guest0'], keysOf(OBSERVER))).toMatchObject({ error: { code: 'denied' } });
    expect(refused.map(({ vms }) => vms)).toEqual([['guest1'], ['guest0', 'guest1'], [], ['guest0']]);
    expect(attached).toEqual([]);
  });

  it('says the same of a VM of another and of one that there is not, and nothing of the topology', async () => {
    const answers = await raw('guest0', async (peer) => {
      const answer = async (greeting: ReturnType<typeof hello>, name: string) => {
        const nonce = await peer.challenged(greeting);
        return peer.ask({ kind: 'proof', proofs: [proofBy('guest0', nonce, greeting, name)] });
      };
      return [
        await answer(hello('backend'), 'backend'),
        await answer(hello('nobody'), 'nobody'),
        await answer({ ...hello('backend'), digest: 'another' }, 'backend'),
      ];
    });
    const [first] = answers;
    expect(first).toEqual(DENIED);
    for (const answer of answers) expect(answer).toEqual(first);
    expect(JSON.stringify(first)).not.toMatch(/guest1|digest/);
  });

  it('lets no key in that the topology has not, and tells its owner', async () => {
    refused.length = 0;
    const own = new Map([['guest0', makeKeyPair()]]);
    const answer = await attach(['guest0'], { hypervisor: hypervisor.publicKey, own });
    expect(answer).toMatchObject({
      error: { code: 'unreachable', reason: expect.stringContaining('does not know the key') },
    });
    expect(refused.map(({ reason }) => reason)).toEqual([expect.stringContaining(own.get('guest0')?.publicKey ?? '')]);
  });

  it('is not talked to by who takes another for it, or has no keys, and both are told at once', async () => {
    refused.length = 0;
    const other = { ...keysOf('guest0'), hypervisor: makeKeyPair().publicKey };
    expect(await attach(['guest0'], other)).toMatchObject({
      error: { reason: expect.stringContaining('keys.hypervisor') },
    });
    expect(await attach(['guest0'])).toMatchObject({ error: { reason: expect.stringContaining('--keys') } });
    while (refused.length < 2) await new Promise((resolve) => setImmediate(resolve));
  });

  it('goes on with a session on a new connection, for who has its token and its keys', async () => {
    const cuttable = join(directory, 'relay');
    const relay = await Relay.start(cuttable, join(directory, 'hypervisor'));
    const connection = await attach(['guest0'], keysOf('guest0'), DIGEST, `ipc://${cuttable}`);
    assert(connection.ok, 'the key is right');
    relay.drop();
    // What is told while the connection breaks may be lost; records are not.
    connection.value.send({ kind: 'asked', vm: vmId(0), cpu: cpuId(0), id: requestId(1n) });
    connection.value.flush();
    while (records === 0) await new Promise((resolve) => setImmediate(resolve));
    expect(await connection.value.query('still there', null)).toMatchObject({ ok: true });
    expect(attached.map(({ vms }) => vms)).toEqual([['guest0']]);
    await leave(connection.value);
    relay.close();
  });

  it('does not go on with a session for who has its token, and not its key', async () => {
    refused.length = 0;
    await raw('guest0', async (owner) => {
      const nonce = await owner.challenged(hello('guest0'));
      const welcome = await owner.ask({ kind: 'proof', proofs: [proofBy('guest0', nonce, hello('guest0'))] });
      assert(welcome.kind === 'welcome', 'the key is right');
      const { session, token } = welcome;
      const resume = { kind: 'resume', session, token, received: 0 } as const;
      await raw('guest1', async (thief) => {
        const once = await thief.challenged(resume);
        const answer = await thief.ask({ kind: 'proof', proofs: [proofBy('guest1', once, resume)] });
        expect(answer).toMatchObject({ kind: 'refused', code: 'session' });
        const twice = await thief.challenged(resume);
        expect(await thief.ask({ kind: 'proof', proofs: [proofBy('guest1', twice, resume, 'guest0')] })).toEqual(
          DENIED,
        );
      });
      expect(await owner.ask({ kind: 'query', id: 1, what: 'x', argument: null })).toMatchObject({ kind: 'reply' });
      expect(refused.map(({ vms }) => vms)).toEqual([['guest1'], []]);
      await owner.say(encodeVmMessage({ kind: 'goodbye', session, reason: 'done' }));
      while (attached.length > 0) await new Promise((resolve) => setImmediate(resolve));
    });
  });

  it('takes a proof once, for the greeting and the connection that it was made for', async () => {
    const greeting = hello('guest0');
    await raw('guest0', async (peer) => {
      const nonce = await peer.challenged(greeting);
      const proof = { kind: 'proof', proofs: [proofBy('guest0', nonce, greeting)] } as const;
      // Another greeting than the one that is proven.
      const other = hello('guest0', 'guest1');
      await peer.challenged(other);
      expect(await peer.ask(proof)).toEqual(DENIED);
      // Its nonce is used up.
      expect(await peer.ask(proof)).toMatchObject({ kind: 'refused', code: 'protocol' });
      // Another nonce, on this connection and on another.
      await peer.challenged(greeting);
      expect(await peer.ask(proof)).toEqual(DENIED);
      await raw('guest0', async (again) => {
        expect(await again.ask(proof)).toMatchObject({ kind: 'refused', code: 'protocol' });
        await again.challenged(greeting);
        expect(await again.ask(proof)).toEqual(DENIED);
      });
    });
    expect(attached).toEqual([]);
  });

  it('lets nobody watch, or run a VM, for a right proof of something else', async () => {
    for (const [name, greeting] of [
      ['guest0', hello()],
      [OBSERVER, hello('guest0')],
      ['guest0', hello('guest0', 'guest1')],
    ] as const) {
      await raw(name, async (peer) => {
        const nonce = await peer.challenged(greeting);
        expect(await peer.ask({ kind: 'proof', proofs: [proofBy(name, nonce, greeting)] })).toEqual(DENIED);
      });
    }
  });

  it('is not impressed by a right proof among wrong ones, or one that is there twice', async () => {
    await raw('guest0', async (peer) => {
      const first = await peer.challenged(hello('guest0'));
      const right = proofBy('guest0', first, hello('guest0'));
      const wrong = proofBy('guest0', first, hello('guest0'), 'guest1');
      expect(await peer.ask({ kind: 'proof', proofs: [right, wrong] })).toEqual(DENIED);
      const second = await peer.challenged(hello('guest0'));
      const twice = proofBy('guest0', second, hello('guest0'));
      expect(await peer.ask({ kind: 'proof', proofs: [twice, twice] })).toEqual(DENIED);
      await peer.challenged(hello('guest0'));
      expect(await peer.ask({ kind: 'proof', proofs: [] })).toEqual(DENIED);
    });
  });

  it('takes no routing id that the peer chose: another peer of that name would have its session', async () => {
    const peer = new Raw('guest0', { routingId: 'me' });
    expect(await peer.ask(hello('guest0'))).toMatchObject({ kind: 'refused', code: 'protocol' });
    peer.close();
  });

  it('asks for no more proofs at a time than it has room for, and goes on', async () => {
    await raw('guest0', async (peer) => {
      const nonce = await peer.challenged(hello('guest0'));
      const crowd = Array.from({ length: 260 }, () => new Raw('guest1'));
      for (const one of crowd) await one.challenged(hello('guest1'));
      const late = await peer.ask({ kind: 'proof', proofs: [proofBy('guest0', nonce, hello('guest0'))] });
      expect(late).toMatchObject({ kind: 'refused', code: 'protocol' });
      for (const one of crowd) one.close();
      const long = {
        ...hello('guest0'),
        digest: 'x'.repeat(60_000),
        vms: Array.from({ length: 5 }, () => 'y'.repeat(60_000)),
      };
      expect(await peer.ask(long)).toMatchObject({ kind: 'refused', code: 'protocol' });
    });
    expect(await granted(['guest0'], keysOf('guest0'))).toEqual(['guest0']);
  });

  const { pack } = new Packr({ useRecords: false });
  const anything = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    // Whatever has the form of a greeting or a proof.
    fc
      .tuple(
        fc.constantFrom(1, 10, 12, 14, 15),
        fc.array(
          fc.oneof(
            fc.constantFrom(
              PROTOCOL_VERSION,
              DIGEST,
              'frontend',
              'guest0',
              ['guest0'],
              [],
              [['guest0', Buffer.alloc(32)]],
            ),
            fc.nat(),
            fc.string(),
            fc.array(
              fc.tuple(fc.constantFrom('', 'guest0', 'guest1', 'x'), fc.uint8Array({ minLength: 32, maxLength: 32 })),
            ),
          ),
          { maxLength: 4 },
        ),
      )
      .map(([type, rest]) => pack([type, ...rest])),
  );

  it('admits nobody for any bytes, in any order, and falls over none', async () => {
    const seed = 20_261_126;
    await raw('guest0', async (peer) => {
      await fc.assert(
        fc.asyncProperty(fc.array(anything, { minLength: 1, maxLength: 8 }), async (frames) => {
          for (const frame of frames) await peer.say(frame);
          // Whatever these caused was said before: a query of a stranger is refused in its turn.
          await peer.say(encodeVmMessage({ kind: 'query', id: 1, what: 'x', argument: null }));
          for (let answer = await peer.hear(); ; answer = await peer.hear()) {
            expect(['refused', 'challenge']).toContain(answer.kind);
            if (answer.kind === 'refused' && answer.reason === 'say HELLO first') break;
          }
          expect(attached).toEqual([]);
        }),
        { seed, numRuns: 300 },
      );
    });
    expect(await granted(['guest0'], keysOf('guest0'))).toEqual(['guest0']);
  });
});
