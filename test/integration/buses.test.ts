import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { remio, reportsOf, root } from './run-remio.js';

describe.each(['processes', 'inproc'])('I2C and GPIO, engine %s', (engine) => {
  it('5.16, 5.18: a guest finds chips and reads them; what it does to one line comes with another', async () => {
    const file = join(root, 'deploy', 'topologies', 'buses.yaml');
    const ended = await remio('up', file, '--engine', engine, '--until-done', '--json');
    expect(ended).toMatchObject({ code: 0, stderr: '' });
    expect(reportsOf(ended, 'i2c-check')).toMatchObject([
      {
        found: [0x48, 0x50],
        sensors: [{ address: 0x48, millicelsius: -12_500 }],
        eeproms: [{ address: 0x50, content: 'board 7, revision B', written: true }],
      },
    ]);
    expect(reportsOf(ended, 'gpio-check')).toMatchObject([
      { names: ['lamp', 'key', ''], edges: 100, interrupts: 100, wrong: 0, afterwards: false },
    ]);
  });
});
