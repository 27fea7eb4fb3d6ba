import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Prng } from '@remio/base';
import { describe, expect, it } from 'vitest';
import { RunningRemio, remio, reportsOf, root } from './run-remio.js';
import { until } from './socat.js';

/** SHA-256 of what a side of a channel has to say: 1 to `size` bytes a message. */
function said(seed: number, side: 0 | 1, messages: number, size: number): string {
  const prng = new Prng(2 * seed + side);
  const hash = createHash('sha256');
  for (let n = 0; n < messages; n += 1) {
    const message = new Uint8Array(1 + prng.below(size));
    prng.fill(message);
    hash.update(message);
  }
  return hash.digest('hex');
}

describe.each(['aarch64', 'riscv64'])('IPC on %s', (arch) => {
  it.each(['processes', 'inproc'])(
    'engine %s: partitions without devices exchange messages both ways, every byte as it was sent',
    async (engine) => {
      const file = join(root, 'examples', `partitions-${arch}.yaml`);
      const ended = await remio('up', file, '--engine', engine, '--until-done', '--json');
      expect(ended).toMatchObject({ code: 0, stderr: '' });
      const reports = reportsOf(ended, 'ipc-exchange');
      for (const [ipc, messages, size, seed] of [
        ['control-planner', 2000, 256, 1],
        ['planner-logger', 500, 1024, 2],
      ] as const) {
        const sides = reports.filter((report) => report['ipc'] === ipc);
        const hashes = ([0, 1] as const).map((side) => said(seed, side, messages, size));
        expect(sides.map((side) => side['sentSha256']).sort()).toEqual([...hashes].sort());
        for (const side of sides) {
          expect(side).toMatchObject({ sent: messages, received: messages, mismatches: 0 });
          expect(new Set([side['sentSha256'], side['receivedSha256']])).toEqual(new Set(hashes));
        }
        // Doorbells are for sides that sleep: far fewer than messages, and what rang was heard, merged or not.
        const doorbells = sides.reduce((sum, side) => sum + Number(side['doorbells']), 0);
        const interrupts = sides.reduce((sum, side) => sum + Number(side['interrupts']), 0);
        expect(interrupts).toBeGreaterThan(0);
        expect(interrupts).toBeLessThanOrEqual(doorbells);
        expect(doorbells).toBeLessThan(2 * messages);
      }
    },
  );
});

describe.each(['reference', 'hardened'])('a recording of partitions, profile %s', (profile) => {
  it('has the same effects when it runs again; of the reference, it is a vector as others are', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'remio-ipc-test-'));
    const [file, recording] = [join(folder, 'partitions.yaml'), join(folder, 'recording.json')];
    const shipped = readFileSync(join(root, 'examples', 'partitions-riscv64.yaml'), 'utf8');
    writeFileSync(file, shipped.replace(/^board:/m, `profile: ${profile}\nboard:`));
    const ended = await remio('up', file, '--engine', 'inproc', '--until-done', '--record', recording);
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(readFileSync(recording, 'utf8')).toContain('"kind":"ipc"');
    expect(await remio('replay', recording)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('the same effects'),
    });
    if (profile === 'reference') expect(await remio('conform', recording, '--lease')).toMatchObject({ code: 0 });
    rmSync(folder, { recursive: true, force: true });
  });
});

describe('a partition whose process is killed', () => {
  it('goes on where it stopped when it comes back: the memory is still there, and nothing is lost or said twice', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'remio-ipc-test-'));
    const file = join(folder, 'partitions.yaml');
    const shipped = readFileSync(join(root, 'examples', 'partitions-aarch64.yaml'), 'utf8');
    // Long enough to be killed in the middle.
    writeFileSync(file, shipped.replaceAll('messages: 2000', 'messages: 60000'));
    const running = new RunningRemio(['up', file, '--until-done', '--json']);
    const started = await running.line((line) => line.includes('"started","name":"control"'));
    const { endpoint } = JSON.parse(await running.line((line) => line.startsWith('{"endpoint"'))) as {
      readonly endpoint: string;
    };
    // Messages that the planner has received, where both count them.
    const memory = join(dirname(endpoint.replace('ipc://', '')), 'shmem-0');
    await until(() => readFileSync(memory).readUInt32LE(0x40) > 1000);
    process.kill((JSON.parse(started) as { readonly pid: number }).pid, 'SIGKILL');
    const ended = await running.ended;
    rmSync(folder, { recursive: true, force: true });
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(reportsOf(ended, 'attached').map((report) => report['incarnation'])).toContain(2);
    const sides = reportsOf(ended, 'ipc-exchange').filter(({ ipc }) => ipc === 'control-planner');
    expect(sides).toHaveLength(2);
    for (const side of sides) expect(side).toMatchObject({ sent: 60_000, received: 60_000, mismatches: 0 });
    // The survivor heard all of it.
    const survivor = sides.find((side) => side['receivedSha256'] === said(1, 0, 60_000, 256));
    expect(survivor).toMatchObject({ sentSha256: said(1, 1, 60_000, 256) });
    const killed = sides.find((side) => side !== survivor);
    expect(Number(killed?.['bytesReceived'])).toBeLessThan(Number(survivor?.['bytesSent']));
  });
});
