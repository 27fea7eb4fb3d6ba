import { expect, it } from 'vitest';
import { Refusals } from './refusals.js';

it('counts every refusal, and logs twenty in a second: a flood of strangers fills no log', () => {
  const lines: string[] = [];
  const refusals = new Refusals((text, vms) => lines.push([text, ...vms].join(' ')));
  for (let n = 0; n < 1000; n += 1) refusals.add(`stranger ${n}`, ['guest0'], 5e9 + n);
  expect(refusals.count).toBe(1000);
  expect(lines).toHaveLength(20);
  expect(lines[0]).toBe('refused: stranger 0 guest0');
  refusals.add('later', [], 7e9);
  expect(lines.slice(20)).toEqual(['refused: 980 others', 'refused: later']);
});
