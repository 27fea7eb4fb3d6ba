import { describe, expect, it } from 'vitest';
import { exposureProblem } from './exposure.js';

describe('what may be bound without keys', () => {
  it.each([
    'ipc:///run/remio.sock',
    'tcp://127.0.0.1:5555',
    'tcp://127.8.0.1:*',
    'tcp://localhost:1',
    'tcp://[::1]:5555',
  ])('%s: only this host reaches it', (endpoint) => {
    expect(exposureProblem(endpoint)).toBeUndefined();
  });

  it.each([
    'tcp://0.0.0.0:5555',
    'tcp://*:5555',
    'tcp://10.0.0.1:5555',
    'tcp://eth0:5555',
    'tcp://[::]:5555',
    'tcp://1270.0.0.1:1',
  ])('%s: refused, with the reason and what to do', (endpoint) => {
    expect(exposureProblem(endpoint)).toMatch(/not|nothing on it is encrypted.*--plaintext/);
  });
});
