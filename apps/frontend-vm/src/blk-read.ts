import type { GuestProgram } from '@remio/guest';
import { type BlkTicket, diskBytes, VirtioBlkDriver } from '@remio/virtio-driver';
import { SECTOR_SIZE } from '@remio/virtio-spec';

interface BlkReadOptions {
  readonly readSize?: number;
  /** Reads in flight. */
  readonly depth?: number;
  /** Bytes to read after the warm-up, wrapping round the disk. */
  readonly bytes?: number;
}

/** Reads the VM's first disk from one end to the other with many requests in flight, and reports how fast. */
export const blkRead =
  (given: BlkReadOptions): GuestProgram =>
  async (cpu, vm) => {
    const options = { readSize: 1 << 20, depth: 32, bytes: 1 << 30, ...given };
    const [end] = vm.devices;
    if (end === undefined) throw new Error(`VM ${vm.name} has no disk`);
    const probed = await VirtioBlkDriver.probe(cpu, end, {});
    if (!probed.ok) throw new Error(`device ${end.name}: ${probed.error.code}: ${probed.error.detail}`);
    const driver = probed.value;
    const disk = diskBytes(driver.capacity);
    const buffers = Array.from({ length: options.depth }, () => driver.allocate(options.readSize));
    const run = async (total: number): Promise<number> => {
      const start = vm.hostTime();
      let position = 0;
      let issued = 0;
      const free = [...buffers];
      let pending: { readonly ticket: BlkTicket; readonly buffer: (typeof buffers)[number] }[] = [];
      while (issued < total || pending.length > 0) {
        const batch: (typeof buffers)[number][] = [];
        const requests = [];
        while (issued < total && free.length > 0) {
          const buffer = free.pop();
          if (buffer === undefined) throw new Error('the shared memory has no room for the buffers');
          batch.push(buffer);
          requests.push({ kind: 'read', sector: BigInt(position / SECTOR_SIZE), data: [buffer] } as const);
          issued += options.readSize;
          position = (position + options.readSize) % disk;
        }
        const tickets = await driver.submit(cpu, requests);
        tickets.forEach((ticket, n) => pending.push({ ticket, buffer: batch[n] }));
        if (!pending.some(({ ticket }) => ticket.outcome !== undefined)) await cpu.waitForInterrupt();
        pending = pending.filter(({ ticket, buffer }) => {
          if (ticket.outcome === undefined) return true;
          if (ticket.outcome !== 'ok') throw new Error(`a read ended with ${ticket.outcome}`);
          free.push(buffer);
          return false;
        });
      }
      return Number(vm.hostTime() - start);
    };
    await run(options.bytes / 4);
    const before = { ...driver.counters, accesses: driver.transport.accesses };
    const ns = await run(options.bytes);
    vm.report({
      kind: 'blk-read',
      bytes: options.bytes,
      ns,
      requests: driver.counters.requests - before.requests,
      notifications: driver.counters.notifications - before.notifications,
      interrupts: driver.counters.interrupts - before.interrupts,
      accesses: driver.transport.accesses - before.accesses,
    });
  };
