import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert, cpuId, irqId, Prng, requestId, vmId } from '@remio/base';
import {
  CREDIT,
  decodeHypervisorMessage,
  encodeVmMessage,
  type HypervisorMessage,
  type HypervisorRecord,
  PROTOCOL_VERSION,
  type VmRecord,
} from '@remio/protocol';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Dealer } from 'zeromq';
import { Connection, Listener, type Peer } from './index.js';
import { Relay } from './testing/relay.js';

let directory = '';
let scenes = 0;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'remio-session-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const asked = (n: number): VmRecord => ({ kind: 'asked', vm: vmId(0), cpu: cpuId(0), id: requestId(BigInt(n)) });
const irq = (n: number): HypervisorRecord => ({ kind: 'irq', vm: vmId(0), cpu: cpuId(0), irq: irqId(n) });
const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, n) => n);

/** A hypervisor's end, a peer's end and a wire between them that can be cut. */
class Scene {
  /** Numbers of the records that each end got. */
  readonly hypervisorGot: number[] = [];
  readonly peerGot: number[] = [];
  readonly attached: Peer[] = [];
  /** Why the hypervisor, and why the peer gave the session up. */
  readonly hypervisorLost: string[] = [];
  readonly peerLost: string[] = [];
  readonly direct: string;
  readonly #waiting = new Set<() => void>();
  #relay: Relay | undefined;
  #listener: Listener | undefined;
  #connection: Connection | undefined;

  private constructor() {
    scenes += 1;
    this.direct = `ipc://${join(directory, `${scenes}-hypervisor`)}`;
  }

  static async start(): Promise<Scene> {
    const scene = new Scene();
    const note = (): void => {
      for (const wake of [...scene.#waiting]) wake();
    };
    scene.#listener = await Listener.bind(scene.direct, 'digest', {
      admit: (vms) => {
        const taken = scene.attached.some((peer) => peer.vms.some((vm) => vms.includes(vm)));
        return taken ? { code: 'vm-taken', reason: 'taken' } : undefined;
      },
      choose: (kind) =>
        kind === 'frontend' ? ['vm', 'other'] : { code: 'none-free', reason: 'the topology has 2, and all are run' },
      onAttached: (peer) => scene.attached.push(peer),
      onRecords: (_, records) => {
        for (const record of records) if (record.kind === 'asked') scene.hypervisorGot.push(Number(record.id));
        note();
      },
      onReport: () => {},
      onQuery: (what) => what,
      onLost: (peer, reason) => {
        scene.attached.splice(scene.attached.indexOf(peer), 1);
        scene.hypervisorLost.push(reason);
        note();
      },
      onRefused: () => {},
    });
    const cuttable = join(directory, `${scenes}-relay`);
    scene.#relay = await Relay.start(cuttable, scene.direct.slice('ipc://'.length));
    const attached = await Connection.attach(`ipc://${cuttable}`, 'digest', ['vm'], {
      onRecords: (records) => {
        for (const record of records) if (record.kind === 'irq') scene.peerGot.push(record.irq);
        note();
      },
      onLost: (reason, loss) => {
        scene.peerLost.push(`${loss}: ${reason}`);
        note();
      },
    });
    assert(attached.ok, 'the peer attaches');
    scene.#connection = attached.value;
    return scene;
  }

  get relay(): Relay {
    assert(this.#relay !== undefined, 'the scene has started');
    return this.#relay;
  }

  get listener(): Listener {
    assert(this.#listener !== undefined, 'the scene has started');
    return this.#listener;
  }

  get connection(): Connection {
    assert(this.#connection !== undefined, 'the scene has started');
    return this.#connection;
  }

  get session(): number {
    const [peer] = this.attached;
    assert(peer !== undefined, 'a peer is attached');
    return peer.session;
  }

  fromPeer(...ns: readonly number[]): void {
    for (const n of ns) {
      this.connection.send(asked(n));
      this.connection.flush();
    }
  }

  fromHypervisor(...ns: readonly number[]): void {
    for (const n of ns) {
      this.listener.send(this.session, irq(n));
      this.listener.flush();
    }
  }

  /** Until something that was awaited is so. */
  async until(is: () => boolean): Promise<void> {
    while (!is()) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          resolve();
        };
        this.#waiting.add(wake);
      });
    }
  }

  stop(): void {
    this.connection.close();
    this.listener.close();
    this.relay.close();
  }
}

const scene = async (run: (scene: Scene) => Promise<void>): Promise<void> => {
  const made = await Scene.start();
  try {
    await run(made);
  } finally {
    made.stop();
  }
};

/** Says something as a stranger, and hears the answer. */
async function stranger(endpoint: string, bytes: Buffer): Promise<HypervisorMessage | undefined> {
  const dealer = new Dealer({ linger: 0, receiveTimeout: 10_000 });
  dealer.connect(endpoint);
  await dealer.send(bytes);
  const [answer] = await dealer.receive();
  dealer.close();
  const decoded = decodeHypervisorMessage(answer ?? Buffer.alloc(0));
  return decoded.ok ? decoded.value : undefined;
}

describe('a session', () => {
  it('outlives its connection: what was lost on the way goes again, both ways, once and in order', () =>
    scene(async (s) => {
      s.fromPeer(0, 1);
      s.fromHypervisor(0, 1);
      await s.until(() => s.hypervisorGot.length === 2 && s.peerGot.length === 2);
      s.relay.swallow();
      s.fromPeer(2, 3, 4);
      s.fromHypervisor(2, 3, 4);
      s.relay.drop();
      s.fromPeer(5);
      s.fromHypervisor(5);
      await s.until(() => s.hypervisorGot.length === 6 && s.peerGot.length === 6);
      expect(s.hypervisorGot).toEqual(numbers(6));
      expect(s.peerGot).toEqual(numbers(6));
      expect(s.hypervisorLost.concat(s.peerLost)).toEqual([]);
      expect(s.listener.frames).toEqual({ received: 6, sent: 6 });
    }));

  it('delivers everything exactly once over a connection that breaks again and again', () =>
    scene(async (s) => {
      const TOTAL = 3000;
      const BREAKS = 12;
      const prng = new Prng(17);
      const breaks = Array.from({ length: BREAKS }, () => prng.below(TOTAL)).sort((a, b) => a - b);
      for (let n = 0; n < TOTAL; n += 1) {
        s.fromPeer(n);
        s.fromHypervisor(n);
        if (n % 50 === 0) await s.until(() => s.hypervisorGot.length > n && s.peerGot.length > n);
        while (breaks[0] === n) {
          breaks.shift();
          if (prng.below(2) === 0) s.relay.swallow();
          s.relay.drop();
        }
      }
      await s.until(() => s.hypervisorGot.length === TOTAL && s.peerGot.length === TOTAL);
      expect(s.hypervisorGot).toEqual(numbers(TOTAL));
      expect(s.peerGot).toEqual(numbers(TOTAL));
      expect(s.hypervisorLost.concat(s.peerLost)).toEqual([]);
    }));

  it('asks and reports what it is told to while it has no connection', () =>
    scene(async (s) => {
      s.relay.drop();
      s.fromPeer(0);
      await s.until(() => s.hypervisorGot.length === 1);
      expect(await s.connection.query('anything', null)).toEqual({ ok: true, value: 'anything' });
    }));

  it('ends at both ends when its connection does not come back in time', () =>
    scene(async (s) => {
      s.relay.refuse();
      await s.until(() => s.hypervisorLost.length === 1 && s.peerLost.length === 1);
      expect(s.hypervisorLost).toEqual(['it cannot be reached']);
      expect(s.peerLost).toEqual(['gone: the hypervisor is gone']);
    }));

  it('is given up when the hypervisor says nothing for 5 s, though the connection stands', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    return scene(async (s) => {
      s.relay.swallow();
      vi.advanceTimersByTime(5_000);
      expect(s.peerLost).toEqual([]);
      vi.advanceTimersByTime(500);
      expect(s.peerLost).toEqual(['silent: the hypervisor has said nothing for 5000 ms']);
    }).finally(() => vi.useRealTimers());
  });

  it('is gone for who finds another hypervisor in the place of the one that it had', () =>
    scene(async (s) => {
      s.listener.close();
      const another = await Listener.bind(s.direct, 'digest', {
        admit: () => undefined,
        choose: () => [],
        onAttached: () => {},
        onRecords: () => {},
        onReport: () => {},
        onQuery: () => null,
        onLost: () => {},
        onRefused: () => {},
      });
      s.relay.drop();
      await s.until(() => s.peerLost.length === 1);
      expect(s.peerLost[0]).toMatch(/^gone: /);
      another.close();
    }));

  it('gives way to a new process that claims its VM while it has no connection', () =>
    scene(async (s) => {
      s.relay.refuse();
      const attach = () => Connection.attach(s.direct, 'digest', ['vm'], { onRecords: () => {}, onLost: () => {} });
      let next = await attach();
      // Until the hypervisor has noticed that the connection broke, the VM is taken.
      while (!next.ok && s.hypervisorLost.length === 0) next = await attach();
      assert(next.ok, 'the VM is free');
      expect(s.hypervisorLost).toEqual(['it was away, and another process claims its VM']);
      next.value.close();
    }));

  it('is not resumed by who does not know its token, and not after its end', () =>
    scene(async (s) => {
      const resume = (session: number, token: string) =>
        stranger(s.direct, encodeVmMessage({ kind: 'resume', session, token, received: 0 }));
      const refused = { kind: 'refused', code: 'session' };
      expect(await resume(s.session, '')).toMatchObject(refused);
      expect(await resume(s.session, '0'.repeat(32))).toMatchObject(refused);
      expect(await resume(s.session + 1, '')).toMatchObject(refused);
      s.fromPeer(0);
      await s.until(() => s.hypervisorGot.length === 1);
      expect(s.hypervisorLost).toEqual([]);
    }));

  it('goes on past its credit, both ways, as long as the other end takes what it gets', () =>
    scene(async (s) => {
      const total = 3 * CREDIT.frames;
      for (const n of numbers(total)) {
        s.fromPeer(n);
        s.fromHypervisor(n);
      }
      await s.until(() => s.hypervisorGot.length === total && s.peerGot.length === total);
      expect(s.hypervisorGot).toEqual(numbers(total));
      expect(s.peerGot).toEqual(numbers(total));
    }));
});

describe('a claim of any VM of a kind', () => {
  const none = { onRecords: () => {}, onLost: () => {} };

  it('gets what the hypervisor chooses, and only what nobody has', () =>
    scene(async (s) => {
      // `vm` is taken: the scene's own peer has it.
      const refused = await Connection.attach(s.direct, 'digest', 'frontend', none);
      expect(refused.ok ? '' : refused.error.code).toBe('vm-taken');
      s.connection.detach('over');
      await s.until(() => s.attached.length === 0);
      const granted = await Connection.attach(s.direct, 'digest', 'frontend', none);
      assert(granted.ok, 'both are free');
      expect(granted.value.vms).toEqual(['vm', 'other']);
      expect(s.attached.map(({ vms }) => vms)).toEqual([['vm', 'other']]);
      granted.value.close();
    }));

  it('is refused with the limit where none is free, and for another topology before that', () =>
    scene(async (s) => {
      const backend = await Connection.attach(s.direct, 'digest', 'backend', none);
      expect(backend).toMatchObject({
        ok: false,
        error: { code: 'none-free', reason: expect.stringContaining('has 2') },
      });
      const other = await Connection.attach(s.direct, 'another', 'backend', none);
      expect(other).toMatchObject({ ok: false, error: { code: 'topology' } });
    }));
});

it('C17: a peer that takes nothing has no more on its way than its credit, and is lost at a bound', async () => {
  await scene(async (s) => {
    const dealer = new Dealer({ linger: 0 });
    dealer.connect(s.direct);
    await dealer.send(encodeVmMessage({ kind: 'hello', version: PROTOCOL_VERSION, digest: 'digest', vms: ['deaf'] }));
    await dealer.receive();
    const deaf = s.attached[1]?.session ?? 0;
    const before = s.listener.frames.sent;
    for (const n of numbers(2 * CREDIT.frames)) {
      s.listener.send(deaf, irq(n));
      s.listener.flush();
    }
    expect(s.listener.frames.sent - before).toBe(CREDIT.frames);
    for (let n = 0; s.hypervisorLost.length === 0; n += 1) {
      assert(n < 100_000, 'there is a bound');
      s.listener.send(deaf, irq(n));
      s.listener.flush();
    }
    expect(s.hypervisorLost).toEqual([expect.stringContaining('acknowledges nothing')]);
    dealer.close();
  });
});
