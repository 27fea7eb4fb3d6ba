import { Prng } from '@remio/base';
import { type GuestCpu, type GuestDeviceEnd, GuestFault, ProgramError } from '@remio/guest';
import { diskBytes, type VirtioBlkDriver } from '@remio/virtio-driver';
import { MMIO, SECTOR_SIZE } from '@remio/virtio-spec';
import type { GuestBuffer } from '@remio/virtqueue';
import type { Workload } from './client.js';
import type { LoadOptions } from './options.js';

/** Reads a register of a device: a trap, and nothing but it. */
export const mmioWorkload = (cpu: GuestCpu, end: GuestDeviceEnd): Workload => ({
  depth: 1,
  async make(came, ended) {
    for (const at of came) {
      let good = true;
      try {
        await cpu.load32(end.window.base + BigInt(MMIO.MagicValue));
      } catch (error) {
        // No request slot was free, or nobody answered in time.
        if (!(error instanceof GuestFault)) throw error;
        good = false;
      }
      ended(at, 4, good);
    }
  },
});

/** Reads and writes a disk through a queue of its own. */
export function blockWorkload(cpu: GuestCpu, driver: VirtioBlkDriver, options: LoadOptions): Workload {
  driver.serve(cpu);
  const { size, pattern, reads, seed } = options;
  const random = new Prng(seed + 0x1000);
  const blocks = Math.floor(diskBytes(driver.capacity) / size);
  const free: GuestBuffer[] = [];
  while (free.length < options.depth) {
    const buffer = driver.allocate(size);
    if (buffer === undefined) break;
    free.push(buffer);
  }
  if (free.length === 0 || blocks === 0)
    throw new ProgramError('the shared memory or the disk has no room for one request');
  let block = random.below(blocks);
  return {
    depth: free.length,
    async make(came, ended) {
      let added = false;
      for (const at of came) {
        const buffer = free.pop();
        block = pattern === 'random' ? random.below(blocks) : (block + 1) % blocks;
        const kind = random.below(1_000_000) < reads * 1_000_000 ? 'read' : 'write';
        const sector = BigInt((block * size) / SECTOR_SIZE);
        const data = buffer === undefined ? [] : [buffer];
        const room = driver.add(cpu.index, { kind, sector, data }, (outcome) => {
          if (buffer !== undefined) free.push(buffer);
          ended(at, size, outcome === 'ok');
        });
        // A queue is made for the depth; a driver whose device is broken takes nothing any more.
        if (!room) throw new ProgramError(`the disk takes no request: ${driver.broken?.detail ?? 'its queue is full'}`);
        added = true;
      }
      if (added && driver.publish(cpu.index)) await driver.notify(cpu, cpu.index);
    },
  };
}
