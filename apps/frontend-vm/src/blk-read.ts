import { type GuestProgram, ProgramError } from '@remio/guest';
import { diskBytes, VirtioBlkDriver } from '@remio/virtio-driver';
import { SECTOR_SIZE } from '@remio/virtio-spec';

interface BlkReadOptions {
  readonly readSize?: number;
  /** Reads in flight. */
  readonly depth?: number;
  /** Whether to look at the used ring again and again instead of being interrupted, as Linux does with its poll queues. */
  readonly poll?: boolean;
  /** Bytes to read after the warm-up, wrapping round the disk. */
  readonly bytes?: number;
}

/** Reads the VM's first disk from one end to the other with many requests in flight, and reports how fast. */
export const blkRead =
  (given: BlkReadOptions): GuestProgram =>
  async (cpu, vm) => {
    const options = { readSize: 1 << 20, depth: 32, poll: false, bytes: 1 << 30, ...given };
    const [end] = vm.devices;
    if (end === undefined) throw new ProgramError(`VM ${vm.name} has no disk`);
    const probed = await VirtioBlkDriver.probe(cpu, end, {});
    if (!probed.ok) throw new ProgramError(`device ${end.name}: ${probed.error.code}: ${probed.error.detail}`);
    const driver = probed.value;
    const disk = diskBytes(driver.capacity);
    const buffers = Array.from({ length: options.depth }, () => driver.allocate(options.readSize));
    const look = async (): Promise<void> => {
      if (driver.poll() === 0) await new Promise<void>((resolve) => vm.defer(cpu.index, resolve, true));
      else if (driver.publish(cpu.index)) await driver.notify(cpu, cpu.index);
    };
    if (options.poll) driver.setInterrupts(false);
    const run = async (total: number): Promise<number> => {
      const start = vm.hostTime();
      let position = 0;
      let issued = 0;
      let ended = 0;
      let failure: string | undefined;
      // Each read that ends makes the next one, in the interrupt's handler or where it is found: the device never waits.
      const read = (buffer: (typeof buffers)[number]): void => {
        if (buffer === undefined) throw new ProgramError('the shared memory has no room for the buffers');
        if (issued >= total || failure !== undefined) return;
        const request = { kind: 'read', sector: BigInt(position / SECTOR_SIZE), data: [buffer] } as const;
        const added = driver.add(cpu.index, request, (outcome) => {
          ended += options.readSize;
          if (outcome !== 'ok') failure ??= outcome;
          read(buffer);
        });
        if (!added) throw new ProgramError(`the queue has no room for ${options.depth} reads`);
        issued += options.readSize;
        position = (position + options.readSize) % disk;
      };
      for (const buffer of buffers) read(buffer);
      if (driver.publish(cpu.index)) await driver.notify(cpu, cpu.index);
      while (ended < issued) await (options.poll ? look() : cpu.waitForInterrupt());
      if (failure !== undefined) throw new ProgramError(`a read ended with ${failure}`);
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
