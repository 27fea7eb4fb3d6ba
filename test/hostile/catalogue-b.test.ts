import type { GuestCpu, GuestDeviceEnd, GuestProgram } from '@remio/guest';
import { DRIVER_CASES, type DriverCase, HONEST, type Layout, type Trial } from '@remio/hostile';
import { BlockDevice, MemoryStorage } from '@remio/virtio-device';
import { type BlkOutcome, type BlkRequest, type DriverError, VirtioBlkDriver } from '@remio/virtio-driver';
import { DEVICE_ID_BLOCK } from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { caseIds, caseName } from './catalogue.js';
import { lieTo, shown } from './lying-bench.js';

const SECTORS = 64;
const LAYOUTS: readonly Layout[] = ['split', 'packed'];

const reasonOf = ({ code, clause, detail }: DriverError): Error => new Error(`${code} (${clause}): ${detail}`);

/** What a request is written with: the sector's number, and which round it is. */
const fill = (bytes: Uint8Array, sector: number, round: number): Uint8Array => bytes.fill((sector * 7 + round) & 0xff);

/**
 * Works on a disk with several requests in flight, and holds it to what it says: every request ends once, and what was
 * written and then read with success is what was written.
 */
async function work(cpu: GuestCpu, end: GuestDeviceEnd, stale: boolean): Promise<number> {
  const probed = await VirtioBlkDriver.probe(cpu, end, { queueSize: 32 });
  if (!probed.ok) throw reasonOf(probed.error);
  const driver = probed.value;
  const { memory } = driver.allocator;
  const buffers = Array.from({ length: 4 }, () => {
    const buffer = driver.allocate(512);
    if (buffer === undefined) throw new Error('no room');
    return { ...buffer, bytes: memory.bytes(memory.locate(buffer.address, 512), 512) };
  });
  let failed = 0;
  /** Four requests at once; each must end exactly once. */
  const round = async (request: (n: number) => BlkRequest): Promise<readonly BlkOutcome[]> => {
    const ends: BlkOutcome[][] = buffers.map(() => []);
    for (const [n, outcomes] of ends.entries()) {
      while (!driver.add(0, request(n), (outcome) => void outcomes.push(outcome))) {
        if (driver.publish(0)) await driver.notify(cpu, 0);
        await cpu.waitForInterrupt();
      }
    }
    if (driver.publish(0)) await driver.notify(cpu, 0);
    while (ends.some(({ length }) => length === 0)) await cpu.waitForInterrupt();
    if (ends.some(({ length }) => length !== 1)) throw new TypeError('a request ended twice');
    const outcomes = ends.flat();
    failed += outcomes.filter((outcome) => outcome !== 'ok').length;
    return outcomes;
  };
  for (let turn = 0; turn < 4; turn += 1) {
    const sectors = buffers.map((_, n) => (turn * 4 + n) % SECTORS);
    const at = (n: number): bigint => BigInt(sectors[n] ?? 0);
    const data = (n: number) => buffers.slice(n, n + 1).map(({ address, length }) => ({ address, length }));
    for (const [n, { bytes }] of buffers.entries()) fill(bytes, sectors[n] ?? 0, turn);
    const written = await round((n) => ({ kind: 'write', sector: at(n), data: data(n) }));
    for (const { bytes } of buffers) bytes.fill(0xee);
    const read = await round((n) => ({ kind: 'read', sector: at(n), data: data(n) }));
    for (const [n, { bytes }] of buffers.entries()) {
      if (stale || written[n] !== 'ok' || read[n] !== 'ok') continue;
      const expected = fill(new Uint8Array(512), sectors[n] ?? 0, turn);
      if (Buffer.compare(bytes, expected) !== 0) throw new TypeError(`sector ${sectors[n]} is not what was written`);
    }
    if (driver.broken !== undefined) throw reasonOf(driver.broken);
  }
  if (driver.inFlight !== 0) throw new TypeError(`${driver.inFlight} requests never ended`);
  return failed;
}

async function tryOn(each: DriverCase, layout: Layout): Promise<Trial> {
  const stale = each.lies.some((lie) => 'trick' in lie && lie.trick === 'stale');
  // The disk lives on when its backend ends.
  const disk = new MemoryStorage(new Uint8Array(SECTORS * 512));
  const program: GuestProgram = async (cpu, vm) => {
    const [end] = vm.devices;
    if (end === undefined) throw new Error('no device');
    vm.report({ kind: 'worked', device: end.name, failed: await work(cpu, end, stale) });
  };
  return lieTo(() => new BlockDevice(disk, { queueSize: 32 }), program, each, layout);
}

describe('catalogue B, in process', () => {
  it('has a case for every id, and no two of one name', () => {
    const covered = new Set<string>(DRIVER_CASES.map(({ id }) => id));
    expect(caseIds('V', 1, 22).filter((id) => !covered.has(id))).toEqual([]);
    expect(new Set(DRIVER_CASES.map(caseName)).size).toBe(DRIVER_CASES.length);
  });

  it.each(LAYOUTS)('the way itself does no harm: %s', async (layout) => {
    expect(shown(await tryOn(HONEST, layout))).toBe('C');
  });

  const forDisks = DRIVER_CASES.filter(({ deviceIds }) => deviceIds?.includes(DEVICE_ID_BLOCK) !== false);
  describe.each(LAYOUTS)('the block driver, %s queues', (layout) => {
    for (const each of forDisks.filter(({ layouts }) => layouts.includes(layout))) {
      it(`${caseName(each)}: ${each.expected.join(' or ')}`, async () => {
        const trial = await tryOn(each, layout);
        expect(each.expected, shown(trial)).toContain(trial.seen);
      });
    }
  });
});
