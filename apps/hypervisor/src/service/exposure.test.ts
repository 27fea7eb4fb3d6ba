import { describe, expect, it } from 'vitest';
import { exposureProblem } from './exposure.js';

const LOCAL = ['tcp://127.0.0.1:5555', 'tcp://127.8.0.1:*', 'tcp://localhost:1', 'tcp://[::1]:5555'];

describe('what may be bound without keys', () => {
  it.each(['ipc:///run/remio.sock', ...LOCAL])('%s: only this host reaches it', (endpoint) => {
    expect(exposureProblem(endpoint, false)).toBeUndefined();
  });

  it.each([
    'tcp://0.0.0.0:5555',
    'tcp://*:5555',
    'tcp://10.0.0.1:5555',
    'tcp://eth0:5555',
    'tcp://[::]:5555',
    'tcp://1270.0.0.1:1',
    'tipc://{5560,0,0}',
  ])('%s: refused, with the reason and what to do', (endpoint) => {
    expect(exposureProblem(endpoint, false)).toMatch(/nothing on it is encrypted.*remio keys.*--plaintext/);
  });

  it.each(LOCAL)(
    '%s: refused where the topology has keys, which every user of the host could do without',
    (endpoint) => {
      expect(exposureProblem(endpoint, true)).toMatch(/every user of this host.*--keys DIR.*--plaintext/);
    },
  );

  it('takes a Unix socket also where the topology has keys: its directory keeps others out', () => {
    expect(exposureProblem('ipc:///run/remio.sock', true)).toBeUndefined();
  });
});
