import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { Prng } from '@remio/base';
import { describe, expect, it } from 'vitest';
import { remio, reportsOf, root } from './run-remio.js';

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
