import { createHash } from 'node:crypto';
import type { RngDriverChoice } from '@remio/topology';
import { patienceOf, VirtioRngDriver } from '@remio/virtio-driver';
import type { DriverProgram } from './index.js';
import { orThrow } from './or-throw.js';

/** Reads random bytes, and reports what they look like. */
export const rng =
  (options: RngDriverChoice): DriverProgram =>
  async (cpu, end, vm) => {
    const driver = orThrow(await VirtioRngDriver.probe(cpu, end, { patience: patienceOf(options.timeout) }));
    const hash = createHash('sha256');
    const counts = new Uint32Array(256);
    const start = vm.hostTime();
    orThrow(
      await driver.read(cpu, options.bytes, (bytes) => {
        hash.update(bytes);
        for (const byte of bytes) counts[byte] = (counts[byte] ?? 0) + 1;
      }),
    );
    const mean = options.bytes / 256;
    vm.report({
      kind: 'rng',
      device: end.name,
      bytes: options.bytes,
      ns: Number(vm.hostTime() - start),
      requests: driver.requests,
      sha256: hash.digest('hex'),
      /** Of 256 equally likely values: about 255 for random bytes, give or take 70. */
      chiSquare: counts.reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0),
    });
  };
