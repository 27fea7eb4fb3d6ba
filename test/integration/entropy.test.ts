import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { Prng } from '@remio/base';
import { describe, expect, it } from 'vitest';
import { remio, reportsOf, root } from './run-remio.js';

/** Bytes of one request of the driver. */
const REQUEST = 64 * 1024;

describe.each(['processes', 'inproc'])('entropy, engine %s', (engine) => {
  it('5.4: a guest reads bytes that look random, and those of a seed as they are', async () => {
    const file = join(root, 'deploy', 'topologies', 'entropy.yaml');
    const ended = await remio('up', file, '--engine', engine, '--until-done', '--json');
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    const seeded = createHash('sha256');
    const prng = new Prng(1);
    for (let n = 0; n < 16; n += 1) {
      const piece = new Uint8Array(REQUEST);
      prng.fill(piece);
      seeded.update(piece);
    }
    const reports = reportsOf(ended, 'rng');
    expect(reports.find(({ device }) => device === 'rng1')).toMatchObject({
      bytes: 1 << 20,
      sha256: seeded.digest('hex'),
    });
    const chiSquare = Number(reports.find(({ device }) => device === 'rng0')?.['chiSquare']);
    // Random bytes fall outside these bounds less than once in 10^12 runs.
    expect(chiSquare).toBeGreaterThan(110);
    expect(chiSquare).toBeLessThan(480);
  });
});
