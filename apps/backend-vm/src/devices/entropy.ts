import { randomFillSync } from 'node:crypto';
import { Prng } from '@remio/base';
import type { EntropyModelOptions } from '@remio/topology';
import { EntropyDevice } from '@remio/virtio-device';

/** A source of random bytes: the host's, or one whose bytes are the same every time. */
export function entropyDevice(options: EntropyModelOptions): EntropyDevice {
  if (options.seed === undefined) return new EntropyDevice((bytes) => randomFillSync(bytes));
  const prng = new Prng(options.seed);
  return new EntropyDevice((bytes) => prng.fill(bytes));
}
