import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as hostTurn } from 'node:timers/promises';
import { dispatcher } from '@remio/backend-vm';
import { assert, Prng } from '@remio/base';
import type { GuestCpu, GuestProgram } from '@remio/guest';
import { BUILTIN_PROGRAMS, loadTopology, type Topology } from '@remio/topology';
import { BlockDevice, type Done, MemoryStorage } from '@remio/virtio-device';
import { type BlkRequest, VirtioBlkDriver } from '@remio/virtio-driver';
import { SECTOR_SIZE } from '@remio/virtio-spec';
import { afterAll, describe, expect, it } from 'vitest';
import { InprocEngine, type VmReport } from './index.js';

const SECTORS = 64;
/** Sectors of a request, and requests that are in flight together. */
const PART = 4;
const TOGETHER = 6;

const directory = mkdtempSync(join(tmpdir(), 'resume-'));
afterAll(() => rmSync(directory, { recursive: true }));

/** A disk whose backend resumes. */
const topology = ((): Topology => {
  const file = join(directory, 'disk.yaml');
  writeFileSync(join(directory, 'disk.img'), new Uint8Array(SECTORS * SECTOR_SIZE));
  const end = 'name: disk, bind_key: 0, shmem: { memory: disk, base: 0xd0000000 }';
  const backend = 'type: backend, interrupt: 40, device: { type: block, image: disk.img }, on_backend_loss: resume';
  writeFileSync(
    file,
    `board: qemu-riscv64-virt
shared_memories: { disk: { size: 1MiB } }
vms:
  backend: { cpus: 1, program: dispatcher, remio_devs: [{ ${end}, ${backend} }] }
  guest: { cpus: 1, program: idle, remio_devs: [{ ${end}, type: frontend, interrupt: 79, window: { base: 0xa003e00 } }] }
`,
  );
  const { topology: good, text } = loadTopology(file, { programs: BUILTIN_PROGRAMS });
  assert(good !== undefined, text);
  return good;
})();

/** What may happen between two of them is the moment of a crash: accesses of the driver, beginnings and ends of storage. */
class Steps {
  count = 0;
  readonly #at: number;
  readonly #act: () => void;

  constructor(at: number, act: () => void) {
    this.#at = at;
    this.#act = act;
  }

  next(): void {
    this.count += 1;
    if (this.count === this.#at) this.#act();
  }
}

/** Sectors that take their time: requests are in flight outside, and end in another order. */
class SlowStorage extends MemoryStorage {
  readonly #steps: Steps;
  #turns = 0;

  constructor(bytes: Uint8Array, steps: Steps) {
    super(bytes);
    this.#steps = steps;
  }

  override read(position: number, buffers: readonly Uint8Array[], done: Done): void {
    this.#later(done, (ended) => super.read(position, buffers, ended));
  }

  override write(position: number, buffers: readonly Uint8Array[], done: Done): void {
    this.#later(done, (ended) => super.write(position, buffers, ended));
  }

  override flush(done: Done): void {
    this.#later(done, (ended) => super.flush(ended));
  }

  #later(done: Done, run: (ended: Done) => void): void {
    this.#steps.next();
    this.#turns = (this.#turns + 2) % 5;
    const wait = async (turns: number): Promise<void> => {
      for (let turn = 0; turn <= turns; turn += 1) await hostTurn();
      run((ok) => {
        this.#steps.next();
        done(ok);
      });
    };
    void wait(this.#turns);
  }
}

const ACCESSES: readonly (string | symbol)[] = ['load8', 'load16', 'load32', 'store8', 'store16', 'store32'];

/** A vCPU each of whose accesses is a step. */
const stepped = (cpu: GuestCpu, steps: Steps): GuestCpu =>
  new Proxy(cpu, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return (...args: readonly unknown[]): unknown => {
        if (ACCESSES.includes(name)) steps.next();
        return Reflect.apply(value, target, args);
      };
    },
  });

/** Writes its disk, several requests at a time, flushes it, reads it back, and tells what it saw. */
const verify =
  (steps: Steps): GuestProgram =>
  async (boot, vm) => {
    const [end] = vm.devices;
    assert(end !== undefined, 'the VM has a device');
    const cpu = stepped(boot, steps);
    const probed = await VirtioBlkDriver.probe(cpu, end);
    if (!probed.ok) {
      vm.report({ kind: 'verified', problem: probed.error.detail });
      return;
    }
    const driver = probed.value;
    const parts = SECTORS / PART;
    const room = Array.from({ length: parts }, () => driver.allocate(PART * SECTOR_SIZE));
    const memory = end.shmem;
    const bytesOf = (n: number): Uint8Array => {
      const buffer = room[n];
      assert(buffer !== undefined, 'the memory has room for the disk');
      return memory.bytes(memory.locate(buffer.address, buffer.length), buffer.length);
    };
    const outcomes: string[] = [];
    const all = async (kind: 'read' | 'write'): Promise<void> => {
      for (let from = 0; from < parts; from += TOGETHER) {
        const requests = room.slice(from, from + TOGETHER).map((buffer, n): BlkRequest => {
          assert(buffer !== undefined, 'the memory has room for the disk');
          return { kind, sector: BigInt((from + n) * PART), data: [buffer] };
        });
        for (const ticket of await driver.submit(cpu, requests)) outcomes.push(await driver.finish(cpu, ticket));
      }
    };
    for (let n = 0; n < parts; n += 1) new Prng(n + 1).fill(bytesOf(n));
    await all('write');
    outcomes.push(await driver.execute(cpu, { kind: 'flush' }));
    for (let n = 0; n < parts; n += 1) bytesOf(n).fill(0);
    await all('read');
    const expected = new Uint8Array(PART * SECTOR_SIZE);
    let mismatches = 0;
    for (let n = 0; n < parts; n += 1) {
      new Prng(n + 1).fill(expected);
      if (Buffer.compare(expected, bytesOf(n)) !== 0) mismatches += 1;
    }
    const { resets, errors } = driver.counters;
    const refused = outcomes.filter((outcome) => outcome !== 'ok');
    vm.report({ kind: 'verified', requests: outcomes.length, refused, mismatches, resets, errors });
  };

interface Ended {
  readonly steps: number;
  readonly verified: VmReport;
  readonly resumed: readonly VmReport[];
  readonly disk: Uint8Array;
}

/** Runs the work, with a crash of the backend at one of its steps, and again while the next incarnation is at one. */
async function run(moment: number, again = 0): Promise<Ended> {
  const disk = new Uint8Array(SECTORS * SECTOR_SIZE);
  const crashes: Promise<void>[] = [];
  let engine: InprocEngine | undefined;
  const crash = (): void => {
    if (engine !== undefined)
      crashes.push(crashes.at(-1)?.then(() => engine?.crash('backend')) ?? engine.crash('backend'));
  };
  const steps = new Steps(moment, () => {
    crash();
    for (let n = 0; n < again; n += 1) crash();
  });
  const serve = dispatcher(() => Promise.resolve(new BlockDevice(new SlowStorage(disk, steps))));
  const reports: VmReport[] = [];
  const made = InprocEngine.create(topology, ({ name }) => (name === 'backend' ? serve : verify(steps)), {
    report: (_, event) => void reports.push(event),
    log: () => {},
  });
  assert(made.ok, made.ok ? '' : made.error);
  engine = made.value;
  engine.start();
  const of = (kind: string): readonly VmReport[] => reports.filter((report) => report.kind === kind);
  for (let turn = 0; of('verified').length === 0; turn += 1) {
    assert(turn < 1e6, 'the work ends');
    await hostTurn();
  }
  await Promise.all(crashes);
  await engine.stop();
  const [verified] = of('verified');
  assert(verified !== undefined, 'the work has ended');
  return { steps: steps.count, verified, resumed: of('resumed'), disk };
}

describe('a backend that resumes', () => {
  const good = { refused: [], mismatches: 0, resets: 0, errors: 0 };

  it('is lost at whichever step of verified I/O: its driver sees no reset and no error, and the data are right', async () => {
    const whole = await run(0);
    expect(whole.verified).toMatchObject({ ...good, requests: 2 * (SECTORS / PART) + 1 });
    expect(whole.steps).toBeGreaterThan(100);
    let inFlight = 0;
    for (let moment = 1; moment <= whole.steps; moment += 1) {
      const { verified, resumed, disk } = await run(moment);
      expect(verified, `step ${moment}`).toMatchObject(good);
      expect(resumed, `step ${moment}`).toHaveLength(1);
      expect(Buffer.compare(disk, whole.disk), `step ${moment}`).toBe(0);
      inFlight += Number(resumed[0]?.['inFlight']);
    }
    // Many a crash had requests in flight.
    expect(inFlight).toBeGreaterThan(whole.steps);
  });

  it('is lost twice more before it has done anything', async () => {
    for (let moment = 5; moment < 100; moment += 10) {
      expect((await run(moment, 2)).verified, `step ${moment}`).toMatchObject(good);
    }
  });
});
