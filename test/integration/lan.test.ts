import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { remio, reportsOf, root } from './run-remio.js';

describe.each(['processes', 'inproc'])('two stations on a switch, engine %s', (engine) => {
  it('5.1: ping each other without loss, and datagrams arrive', async () => {
    const file = join(root, 'deploy', 'topologies', 'lan-aarch64.yaml');
    const ended = await remio('up', file, '--engine', engine, '--until-done', '--json');
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    const pings = reportsOf(ended, 'ping');
    const answered = pings.map(({ device, sent, received, lost }) => [device, sent, received, lost]);
    expect(answered.sort()).toEqual([
      ['net0', 1000, 1000, 0],
      ['net1', 200, 200, 0],
    ]);
    const counts = reportsOf(ended, 'station-ended').map(({ datagrams }) => datagrams);
    expect(counts.sort()).toEqual([0, 1000]);
  });
});
