import { err } from '@remio/base';
import { describe, expect, it } from 'vitest';
import { type Outcome, readPlan, runPoint } from './index.js';
import { settingsSchema } from './language.js';

const run = (settings: object): Promise<Outcome> =>
  runPoint(settingsSchema.parse({ measure: { warm_up: '1ms', duration: '10ms' }, ...settings }), 1);

/** What is said of an experiment that cannot be. */
const refused = (lines: string): string =>
  readPlan(`name: wrong\ntitle: Wrong\n${lines}`, 'wrong.yaml', () => err('not here')).text;

describe('the network workload', () => {
  it('gets every frame back, whole, and larger ones later', async () => {
    const [small, large] = [64n, 1514n].map((size) => run({ workload: { type: 'network', size, depth: 1n } }));
    const outcomes = await Promise.all([small, large]);
    for (const [n, size] of [64, 1514].entries()) {
      const outcome = outcomes[n] as Outcome;
      expect(outcome.operations).toBeGreaterThan(20);
      expect(outcome).toMatchObject({ errors: 0, faults: 0, bytes: outcome.operations * size });
    }
    // At least what the link takes for the further bytes, there and back, at a gigabit a second.
    const bits = (2 * (1514 - 64) * 1e9) / 125_000_000;
    expect((outcomes[1] as Outcome).latency.p50 - (outcomes[0] as Outcome).latency.p50).toBeGreaterThan(bits * 0.9);
  });

  it('takes as many frames as its rate says, whatever the burst; those of a burst wait for each other', async () => {
    const of = (burst: bigint): Promise<Outcome> =>
      run({
        workload: { type: 'network', rate: 8000, burst, depth: 64n },
        measure: { warm_up: '5ms', duration: '100ms' },
      });
    const [alone, together] = await Promise.all([of(1n), of(16n)]);
    for (const { throughput } of [alone, together]) expect(Math.abs(throughput - 8000)).toBeLessThan(2400);
    expect(together.latency.p50).toBeGreaterThan(alone.latency.p50);
    // One access and one interrupt serve a whole burst.
    expect(together.perOperation.accesses).toBeLessThan(alone.perOperation.accesses / 2);
  });

  it('goes on when more frames were sent than there are buffers', async () => {
    const outcome = await run({ workload: { type: 'network', depth: 4n }, measure: { duration: '50ms' } });
    expect(outcome.operations).toBeGreaterThan(300);
  });
});

describe('the console workload', () => {
  it('gets back every byte, and more in flight do more', async () => {
    const of = (depth: bigint): Promise<Outcome> => run({ workload: { type: 'console', size: 100n, depth } });
    const [one, eight] = await Promise.all([of(1n), of(8n)]);
    for (const outcome of [one, eight]) expect(outcome).toMatchObject({ errors: 0, bytes: outcome.operations * 100 });
    expect(eight.throughput).toBeGreaterThan(2 * one.throughput);
  });

  it('writes more at once than a buffer holds', async () => {
    const outcome = await run({ workload: { type: 'console', size: 4096n, depth: 32n } });
    expect(outcome.operations).toBeGreaterThan(20);
  });
});

describe('what frontends do besides', () => {
  const workload = { type: 'network', rate: 2000, depth: 16n };
  const beside = { type: 'block', size: 65536n, depth: 16n, devices: 1n };

  it('is told apart, and costs frames their time where one core serves both', async () => {
    const [alone, shared, apart] = await Promise.all([
      run({ workload }),
      run({ workload, beside }),
      run({ workload, beside, platform: { backends: 2n } }),
    ]);
    expect(alone.beside).toBeUndefined();
    expect(shared.beside?.latency.count).toBeGreaterThan(10);
    expect(shared.operations).toBeLessThan(40);
    expect(shared.latency.p50).toBeGreaterThan(1.3 * alone.latency.p50);
    expect(apart.latency.p50).toBeLessThan(shared.latency.p50);
  });

  it('may be the same as what is measured', async () => {
    const outcome = await run({ workload: { depth: 1n }, beside: { depth: 1n, devices: 2n } });
    expect(outcome.beside?.latency.count).toBeGreaterThan(outcome.latency.count);
  });
});

describe('a workload that cannot be', () => {
  it.each([
    ['workload: { type: network, size: 9000 }', /a frame of 60 to 1514 bytes/, 'size'],
    ['workload: { type: block, size: 100 }', /512 bytes to 1MiB, in sectors/, 'size'],
    ['workload: { type: console, size: 1MiB }', /1 byte to 4KiB/, 'size'],
    ['workload: { type: network, burst: 4 }', /bursts only at a rate/, 'burst'],
    ['workload: { type: network, rate: -1 }', /a rate from 0 to/, 'rate'],
    ['workload: { type: network }\nplatform: { vcpus: 2 }', /a network workload has one vCPU/, 'vcpus'],
    ['workload: { type: network }\nclock: wall', /for virtual time: on the wall clock nobody sends back/, 'type'],
    ['beside: { type: console, devices: 1 }\nclock: wall', /a console workload is for virtual time/, 'type'],
    ['link: { latency: 1ms }\nclock: wall', /`link` are for virtual time/, 'link'],
    ['base: x.yaml\nbeside: { devices: 1 }', /`beside` is for a platform that is described/, 'beside'],
  ])('is refused with its place: %s', (lines, message, marked) => {
    const text = refused(lines);
    expect(text).toMatch(message);
    expect(text).toMatch(/--> wrong\.yaml:\d+:\d+/);
    expect(text).toContain(marked);
  });
});
