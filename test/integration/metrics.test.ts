import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { METRICS } from '@remio/metrics';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort } from './free-port.js';
import { RunningRemio, remio, root } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-test-'));
const disk = join(scratch, 'disk.img');
const topology = join(root, 'deploy', 'topologies', 'demo-aarch64.yaml');

beforeAll(() => writeFileSync(disk, new Uint8Array(2 * 1024 * 1024)));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** The value of a sample; undefined if there is none. */
const sampleOf = (text: string, sample: string): number | undefined => {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${sample} `));
  return line === undefined ? undefined : Number(line.slice(sample.length + 1));
};

describe('remio up --metrics', () => {
  it('shows what every process did, and when it is ready', async () => {
    const port = await freePort();
    const address = `127.0.0.1:${port}`;
    const args = ['up', topology, '--image', `disk0=${disk}`, '--image', `disk1=${join(scratch, 'disk1.img')}`];
    writeFileSync(join(scratch, 'disk1.img'), new Uint8Array(2 * 1024 * 1024));
    const running = new RunningRemio([...args, '--metrics', address, '--json']);
    const at = async (process: string): Promise<string> => {
      const line = await running.line((each) => each.includes('"metrics"') && each.includes(`"${process}"`));
      return (JSON.parse(line) as { readonly metrics: string }).metrics;
    };
    try {
      await running.line((line) => line.includes('blk-verify') && line.includes('guest0'));
      await running.line((line) => line.includes('blk-verify') && line.includes('guest1'));
      const text = async (process: string): Promise<string> => (await fetch(await at(process))).text();
      const hypervisor = await text('hypervisor');
      expect(sampleOf(hypervisor, 'remio_vm_attached{vm="guest0"}')).toBe(1);
      expect(sampleOf(hypervisor, 'remio_traps_total{vm="guest0"}')).toBeGreaterThan(50);
      expect(sampleOf(hypervisor, 'remio_hypercalls_total{vm="backend",op="ask",result="0"}')).toBeGreaterThan(50);
      const device = '{device="disk0",backend="backend",frontend="guest0"}';
      const requests = sampleOf(hypervisor, `remio_requests_total${device}`) ?? 0;
      expect(requests).toBeGreaterThan(50);
      expect(sampleOf(hypervisor, `remio_completions_total${device}`)).toBe(requests);
      expect(sampleOf(hypervisor, `remio_oldest_request_seconds${device}`)).toBe(0);
      expect(sampleOf(hypervisor, `remio_deadline_seconds${device}`)).toBe(30);
      expect(sampleOf(hypervisor, 'remio_hop_seconds_count{hop="vm_to_hypervisor",vm="guest0"}')).toBeGreaterThan(50);
      const guest = await text('guest0');
      expect(sampleOf(guest, 'remio_verified_bytes_total{vm="guest0",device="disk0"}')).toBeGreaterThan(2 ** 18);
      expect(sampleOf(guest, 'remio_mismatches_total{vm="guest0",device="disk0"}')).toBe(0);
      expect(sampleOf(guest, 'remio_hop_seconds_count{hop="round_trip",vm="guest0"}')).toBeGreaterThan(50);
      const backend = await text('backend');
      expect(sampleOf(backend, 'remio_device_serving{vm="backend",device="disk0"}')).toBe(1);
      const queue = '{vm="backend",device="disk0",queue="0"}';
      expect(sampleOf(backend, `remio_queue_read_bytes_total${queue}`)).toBeGreaterThan(2 ** 18);
      expect(sampleOf(backend, `remio_queue_depth${queue}`)).toBe(0);
      expect(sampleOf(backend, `remio_queue_latched_total${queue}`)).toBe(0);
      for (const process of ['hypervisor', 'backend', 'guest0', 'guest1']) {
        const url = (await at(process)).replace('/metrics', '/readyz');
        expect((await fetch(url)).status, process).toBe(200);
      }
      // Nothing is named otherwise than the catalogue has it.
      const named = [hypervisor, guest, backend].flatMap((each) => each.match(/^# TYPE (\S+)/gm) ?? []);
      expect(named.map((line) => line.slice('# TYPE '.length)).filter((name) => !(name in METRICS))).toEqual([]);
    } finally {
      running.process.kill('SIGTERM');
      await running.ended;
    }
  });

  it('refuses what is no address, and says so where one is taken', async () => {
    const wrong = await remio('up', topology, '--image', disk, '--metrics', 'nowhere');
    expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining('write HOST:PORT')]);
    const port = await freePort();
    const taken = createServer().listen(port, '127.0.0.1');
    const refused = await remio('up', topology, '--image', disk, '--metrics', `127.0.0.1:${port}`);
    taken.close();
    expect([refused.code, refused.stderr]).toEqual([3, expect.stringContaining('choose another address')]);
  });
});
