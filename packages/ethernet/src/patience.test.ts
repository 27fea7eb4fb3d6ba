import { describe, expect, it } from 'vitest';
import { Patience } from './index.js';

/** Looks in vain until it is time to rest, that one included. */
const looks = (patience: Patience): number => {
  let made = 1;
  while (patience.again()) made += 1;
  return made;
};

describe('patience', () => {
  it('is longer the more was found since the last rest, within bounds', () => {
    const patience = new Patience();
    expect(looks(patience)).toBe(48);
    patience.found(1);
    expect(looks(patience)).toBe(48);
    for (let n = 0; n < 100; n += 1) patience.found(1);
    expect(looks(patience)).toBe(800);
    patience.found(100_000);
    expect(looks(patience)).toBe(2048);
    expect(looks(patience)).toBe(48);
  });

  it('begins anew with every frame', () => {
    const patience = new Patience();
    for (let n = 0; n < 40; n += 1) patience.again();
    patience.found(1);
    expect(looks(patience)).toBe(48);
  });
});
