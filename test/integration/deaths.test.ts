import { randomInt } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Prng } from '@remio/base';
import { renderTable } from '@remio/telemetry';
import { afterAll, describe, expect, it } from 'vitest';
import { RunningRemio, reportsOf } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-test-'));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Another run with the same one chooses the same victims, ways and pauses: `REMIO_SEED=…`. */
const seed = Number(process.env['REMIO_SEED'] ?? randomInt(2 ** 31));

/** Blows against processes of each platform. */
const BLOWS = 52;
/** Pairs of a backend and a frontend with a disk. Nobody harms the first, which must not notice. */
const PAIRS = 5;
/** Those from here on have backends that resume: their drivers must not notice that these were lost. */
const FIRST_RESUMED = 3;
/** `remio up` gives a process up that it started more often than this in so many milliseconds. */
const RESTARTS_MAX = 5;
const RESTART_WINDOW_MS = 30_000;
/** Milliseconds of silence after which a process is cut off. */
const SILENCE_MS = 5000;
/** Milliseconds in which a process comes back, on a machine that is busy. */
const PATIENCE_MS = 60_000;
const MiB = 2 ** 20;

/** What is done to a process. */
type Way = 'killed' | 'stopped for a while' | 'stopped until it is cut off';

/** A platform of pairs whose guests verify their disks again and again, without deadlines: no access may be lost. */
function platform(arch: string): readonly string[] {
  const memories: string[] = [];
  const vms: string[] = [];
  for (let n = 0; n < PAIRS; n += 1) {
    const image = join(scratch, `${arch}-disk${n}.img`);
    const bytes = new Uint8Array(MiB);
    new Prng(n).fill(bytes);
    writeFileSync(image, bytes);
    const end = `name: disk${n}, bind_key: ${n}, interrupt: 40, shmem: { memory: disk${n}, base: 0x${(0xd000_0000 + n * 4 * MiB).toString(16)} }`;
    const onLoss = n < FIRST_RESUMED ? 'needs_reset' : 'resume';
    memories.push(`  disk${n}: { size: 4MiB }`);
    vms.push(
      `  backend${n}:
    cpus: 1
    remio_devs:
      - { type: backend, ${end}, device: { type: block, image: ${image} }, on_backend_loss: ${onLoss} }`,
      `  guest${n}:
    cpus: 1
    remio_devs:
      - { type: frontend, ${end}, window: { base: 0xa003e00 }, repeat: { pause: 10ms }, driver: { type: blk-verify, writes: 64, seed: ${n} } }`,
    );
  }
  const file = join(scratch, `${arch}.yaml`);
  const head = [`name: deaths-${arch}`, `board: { name: synthetic-${arch}, cpus: ${2 * PAIRS} }`];
  writeFileSync(file, [...head, 'shared_memories:', ...memories, 'vms:', ...vms, ''].join('\n'));
  return ['up', file, '--json'];
}

/** A process that may be harmed. */
class Victim {
  /** When it was started again, of the last {@link RESTART_WINDOW_MS}. */
  #deaths: number[] = [];
  /** Its disk was verified again since the last blow. */
  well = true;

  constructor(
    readonly name: string,
    readonly device: string,
    readonly running: RunningRemio,
  ) {}

  /** Whether it may be harmed now: it is well, and `remio up` would start it once more. */
  get ready(): boolean {
    const since = performance.now() - RESTART_WINDOW_MS - 1000;
    this.#deaths = this.#deaths.filter((time) => time > since);
    return this.well && this.#deaths.length < RESTARTS_MAX;
  }

  /** The process that runs it now. */
  get #pid(): number {
    const line = this.running.lines.findLast((candidate) =>
      candidate.startsWith(`{"kind":"started","name":"${this.name}"`),
    );
    if (line === undefined) throw new Error(`${this.name} was not started`);
    return (JSON.parse(line) as { readonly pid: number }).pid;
  }

  /** Harms it; gives the milliseconds until its disk had been verified again. */
  async harm(way: Way, pause: number): Promise<number> {
    const start = performance.now();
    const pid = this.#pid;
    const from = this.running.lines.length;
    const dies = way !== 'stopped for a while';
    if (way === 'killed') process.kill(pid, 'SIGKILL');
    else {
      process.kill(pid, 'SIGSTOP');
      await sleep(dies ? SILENCE_MS + 1000 + pause : pause);
      process.kill(pid, 'SIGCONT');
    }
    const after = dies ? await this.#index(from, `{"kind":"started","name":"${this.name}"`) : from;
    if (dies) this.#deaths.push(performance.now());
    // Rounds that were told of in between may have ended before.
    const first = await this.#index(after, `"kind":"blk-verify","device":"${this.device}"`);
    if (!dies) await this.#index(first + 1, `"kind":"blk-verify","device":"${this.device}"`);
    return performance.now() - start;
  }

  /** Index of the first line from there on that has this text. */
  async #index(from: number, text: string): Promise<number> {
    const start = performance.now();
    for (let next = from; ; ) {
      const { lines } = this.running;
      for (; next < lines.length; next += 1) if (lines[next]?.includes(text) === true) return next;
      const late = performance.now() - start > PATIENCE_MS;
      if (late || this.running.process.exitCode !== null) {
        const what = late ? `in vain for ${PATIENCE_MS / 1000} s` : 'until remio up ended';
        throw new Error(`${this.name}: waited ${what} for ${text}:\n${lines.slice(-40).join('\n')}`);
      }
      await sleep(10);
    }
  }
}

/** One blow and what came of it. */
interface Blow {
  readonly victim: string;
  readonly way: Way;
  readonly recoveredMs: number;
}

const showMs = (ms: number): string => `${(ms / 1000).toFixed(2)} s`;

/** The blows by kind of process and way: how many there were, and how long it took until the disk was verified again. */
function table(blows: readonly Blow[], pausesMs: readonly number[]): string {
  const groups = new Map<string, number[]>();
  for (const { victim, way, recoveredMs } of blows) {
    const key = `${victim.replace(/\d+$/, '')} ${way}`;
    groups.set(key, [...(groups.get(key) ?? []), recoveredMs]);
  }
  const rows = [...groups].sort().map(([what, times]) => {
    const sorted = times.sort((a, b) => a - b);
    return [what, String(times.length), showMs(sorted[sorted.length >> 1] ?? 0), showMs(sorted.at(-1) ?? 0)];
  });
  const witness = ['unharmed pair, one round', String(pausesMs.length), ...spread(pausesMs)];
  return renderTable([['what', 'times', 'median', 'longest'], ...rows, witness]);
}

function spread(values: readonly number[]): readonly [string, string] {
  const sorted = [...values].sort((a, b) => a - b);
  return [showMs(sorted[sorted.length >> 1] ?? 0), showMs(sorted.at(-1) ?? 0)];
}

describe.each(['aarch64', 'riscv64'])('processes that die or stop under verified writes, %s', (arch) => {
  it(`lose nothing, and nobody else notices: ${BLOWS} blows, seed ${seed}`, async () => {
    console.log(`REMIO_SEED=${seed} npx vitest run --project integration test/integration/deaths.test.ts`);
    const prng = new Prng(seed);
    const running = new RunningRemio(platform(arch));
    const victims = Array.from({ length: PAIRS - 1 }, (_, n) => [`backend${n + 1}`, `guest${n + 1}`] as const).flatMap(
      ([backend, guest], n) => [backend, guest].map((name) => new Victim(name, `disk${n + 1}`, running)),
    );
    for (const { device } of victims) await running.line((line) => line.includes(`"blk-verify","device":"${device}"`));

    const blows: Blow[] = [];
    const under: Promise<void>[] = [];
    let failure: unknown;
    for (let blow = 0; blow < BLOWS; blow += 1) {
      const way: Way =
        blow % 26 === 5 ? 'stopped until it is cut off' : prng.below(4) === 0 ? 'stopped for a while' : 'killed';
      const wanted = prng.below(victims.length);
      const pause = prng.below(800);
      // The one that was drawn, or the next that is not recovering; a pair's other half is left alone meanwhile.
      const free = (): Victim | undefined =>
        [...victims.slice(wanted), ...victims.slice(0, wanted)].find(
          (victim) => victim.ready && victims.every((other) => other.device !== victim.device || other.well),
        );
      while (free() === undefined && failure === undefined) await sleep(10);
      const victim = free();
      if (victim === undefined) break;
      victim.well = false;
      under.push(
        victim.harm(way, pause).then(
          (recoveredMs) => {
            blows.push({ victim: victim.name, way, recoveredMs });
            victim.well = true;
          },
          (error: unknown) => {
            failure = error;
          },
        ),
      );
      await sleep(prng.below(300));
    }
    await Promise.all(under);
    if (failure !== undefined) throw failure;
    running.process.kill('SIGINT');
    const ended = await running.ended;

    const rounds = reportsOf(ended, 'blk-verify');
    const unharmed = rounds.filter(({ device }) => device === 'disk0');
    const pauses = unharmed.map(({ readNs, verifyNs }) => (Number(readNs) + Number(verifyNs)) / 1e6);
    console.log(table(blows, pauses));
    expect(blows).toHaveLength(BLOWS);
    expect(rounds.filter(({ mismatches, failed }) => mismatches !== 0 || failed !== 0)).toEqual([]);
    for (const kind of ['vcpu-off', 'driver-failed', 'io-error', 'device-broken']) {
      expect(reportsOf(ended, kind).filter(({ reason }) => kind !== 'vcpu-off' || reason !== undefined)).toEqual([]);
    }
    const resumed = rounds.filter(({ device }) => Number(String(device).replace('disk', '')) >= FIRST_RESUMED);
    // The driver of the pair which nobody harmed has noticed nothing, nor have those of backends that resumed. (Others have if a
    // loss fell into their work, and not between two rounds of it.)
    const resets = (of: typeof rounds): number =>
      of.reduce((sum, { counters }) => sum + (counters as { readonly resets: number }).resets, 0);
    expect(resets(unharmed)).toBe(0);
    expect(resets(resumed)).toBe(0);
    expect(reportsOf(ended, 'resumed').length).toBeGreaterThan(0);
    expect(Math.max(...pauses)).toBeLessThan(SILENCE_MS);
    const started = ended.stdout
      .split('\n')
      .filter((line) => /^\{"kind":"started","name":"(backend|guest)0"/.test(line));
    expect(started).toHaveLength(2);
    expect(ended).toMatchObject({ code: 130, stderr: '' });
  }, 240_000);
});
