import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Arch } from '@remio/arch';
import { assert } from '@remio/base';
import { HypervisorService } from '@remio/hypervisor';
import { decodeHypervisorMessage } from '@remio/protocol';
import type { Topology } from '@remio/topology';
import { afterAll, beforeAll, expect } from 'vitest';
import { Dealer } from 'zeromq';
import { caseIds, describeCatalogue } from './catalogue.js';
import { topologyOf } from './hypercall-machine.js';
import { answer, GUEST2, load, OTHER, WIRE_CASES, type WireCase, type WireStep } from './wire-cases.js';
import { WirePeer } from './wire-peer.js';

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'remio-wire-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

let services = 0;

/** A hypervisor with one case's peers, an observer, and two VMs that have nothing to do with the case. */
class Scene {
  readonly #arch: Arch;
  readonly #topology: Topology;
  readonly #endpoint: string;
  readonly #service: HypervisorService;
  readonly #log: string[];
  readonly #bystander: WirePeer;
  readonly #observer: WirePeer;
  readonly #peers = new Map<string, WirePeer>();
  readonly #kept = new Map<string, bigint>();
  #queries = 0;

  private constructor(arch: Arch, topology: Topology, endpoint: string, service: HypervisorService, log: string[]) {
    this.#arch = arch;
    this.#topology = topology;
    this.#endpoint = endpoint;
    this.#service = service;
    this.#log = log;
    this.#bystander = new WirePeer(endpoint, ['other', 'guest2']);
    this.#observer = new WirePeer(endpoint, []);
  }

  static async start(arch: Arch): Promise<Scene> {
    const topology = topologyOf(arch, 'hardened');
    services += 1;
    const endpoint = `ipc://${join(directory, `${services}.sock`)}`;
    const log: string[] = [];
    const service = await HypervisorService.start({
      topology,
      endpoint,
      log: (level, _, message) => log.push(`${level}: ${message}`),
    });
    const scene = new Scene(arch, topology, endpoint, service, log);
    await scene.#bystander.attach(topology.digest);
    await scene.#observer.attach('');
    return scene;
  }

  async stop(): Promise<void> {
    for (const peer of [...this.#peers.values(), this.#bystander, this.#observer]) peer.close();
    await this.#service.stop();
  }

  async step(step: WireStep): Promise<void> {
    switch (step.do) {
      case 'attach': {
        const peer = new WirePeer(this.#endpoint, step.vms, step.route === undefined ? {} : { route: step.route });
        this.#peers.set(step.peer, peer);
        await peer.attach(this.#topology.digest);
        return;
      }
      case 'refused': {
        const peer = new WirePeer(this.#endpoint, step.vms);
        await peer.hello(step.topology ?? this.#topology.digest, step.version);
        const { code, reason } = await peer.message('refused');
        peer.close();
        expect(code, reason).toBe(step.code);
        expect(this.#log.some((line) => line.includes(reason))).toBe(true);
        return;
      }
      case 'impersonate': {
        const impostor = new WirePeer(this.#endpoint, step.vms, { route: step.route });
        this.#peers.set('impostor', impostor);
        await impostor.connected();
        await impostor.hello(this.#topology.digest);
        return;
      }
      case 'send':
        await this.#peer(step.peer).send(step.records({ arch: this.#arch, kept: this.#kept }), step.lies);
        return;
      case 'forge': {
        const { session } = this.#peer(step.as);
        const records = step.records({ arch: this.#arch, kept: this.#kept });
        await this.#peer(step.peer).send(records, { session });
        return;
      }
      case 'bytes':
        await this.#peer(step.peer).bytes(step.bytes);
        return;
      case 'again':
        await this.#peer(step.peer).again();
        return;
      case 'query':
        this.#queries += 1;
        await this.#peer(step.peer).query(this.#queries, step.what, step.argument);
        return;
      case 'replied':
        expect((await this.#peer(step.peer).message('reply')).value).toEqual(step.value);
        return;
      case 'stranger': {
        const dealer = new Dealer({ linger: 0, receiveTimeout: 10_000 });
        dealer.connect(this.#endpoint);
        await dealer.send(Buffer.from(step.bytes));
        const [frame] = await dealer.receive();
        dealer.close();
        expect(decodeHypervisorMessage(frame ?? Buffer.alloc(0))).toMatchObject({
          value: { kind: 'refused', code: 'protocol' },
        });
        return;
      }
      case 'hears': {
        const record = await this.#peer(step.peer).record(step.record);
        if (step.like !== undefined) expect(record).toMatchObject(step.like);
        if (step.keep !== undefined && record.kind === 'lease') this.#kept.set(step.keep, record.id);
        return;
      }
      case 'vanish':
        this.#peer(step.peer).close();
        return;
      case 'flood':
        return this.#flood(step);
      case 'cut': {
        const { code, reason } = await this.#peer(step.peer).message('refused');
        expect(code).toBe('protocol');
        expect(reason).toMatch(step.reason);
        return;
      }
      case 'lost': {
        const report = await this.#observer.message('report', ({ vm, event }) => vm === step.vm && isLost(event));
        if (step.reason !== undefined)
          expect(report.event).toMatchObject({ reason: expect.stringMatching(step.reason) });
        return;
      }
    }
  }

  /** Every other VM goes on: guest2 reads a register, and other serves it; neither was ever lost. */
  async bystander(): Promise<void> {
    const peer = this.#bystander;
    await peer.send([load(this.#arch, GUEST2)]);
    const lease = await peer.record('lease');
    await peer.send(answer(this.#arch, OTHER, lease.id, 0x55n));
    expect(await peer.record('resume')).toMatchObject({ value: 0x55n });
    await this.#observer.query(0, 'status', null);
    const { value } = await this.#observer.message('reply');
    const { vms } = value as { readonly vms: readonly { readonly name: string; readonly losses: number }[] };
    for (const vm of vms.filter(({ name }) => peer.vms.includes(name))) {
      expect(vm).toMatchObject({ attached: true, losses: 0 });
    }
  }

  #peer(name: string): WirePeer {
    const peer = this.#peers.get(name);
    assert(peer !== undefined, `an earlier step made peer ${name}`);
    return peer;
  }

  /** Calls without end, one to a frame, and never reads an answer. */
  async #flood(step: Extract<WireStep, { do: 'flood' }>): Promise<void> {
    const peer = new WirePeer(this.#endpoint, step.vms, { deaf: true });
    this.#peers.set('flood', peer);
    await peer.hello(this.#topology.digest);
    // The peer reads no WELCOME: sessions count up, and the bystander and the observer have the first two.
    peer.assume(3);
    const records = [step.record({ arch: this.#arch, kept: this.#kept })];
    for (let n = 0; n < step.calls; n += 1) await peer.send(records);
  }
}

const isLost = (event: unknown): boolean =>
  typeof event === 'object' && event !== null && 'kind' in event && event.kind === 'lost';

/** Runs a case, and after it what has nothing to do with it. */
async function run(each: WireCase, arch: Arch): Promise<void> {
  const scene = await Scene.start(arch);
  try {
    for (const step of each.steps) await scene.step(step);
    await scene.bystander();
  } finally {
    await scene.stop();
  }
}

for (const arch of ['aarch64', 'riscv64'] as const) {
  const cases = WIRE_CASES.filter((each) => each.arch === undefined || each.arch === arch);
  describeCatalogue(`catalogue C, wire: ${arch}`, caseIds('C', 13, 19), cases, (each) => run(each, arch));
}
