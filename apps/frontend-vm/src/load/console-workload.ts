import type { GuestCpu } from '@remio/guest';
import type { VirtioConsoleDriver } from '@remio/virtio-driver';
import type { Workload } from './client.js';
import type { LoadOptions } from './options.js';

/** Writes to a console whose other end sends everything back: an operation is what is written at once, there and back. */
export function consoleWorkload(cpu: GuestCpu, driver: VirtioConsoleDriver, options: LoadOptions): Workload {
  const { size, depth } = options;
  /** What is in flight, oldest first: bytes come back in the order in which they went. */
  const open: { readonly came: number; readonly ended: Parameters<Workload['make']>[1] }[] = [];
  /** Bytes of the oldest that are not back yet, and bytes that found no room. */
  let left = size;
  let unsent = 0;
  const [port] = driver.ports;
  port?.open();
  const send = (): void => {
    if (unsent === 0) return;
    port?.fill((room) => {
      const count = Math.min(unsent, room.length);
      room.fill(0x2e, 0, count);
      unsent -= count;
      return count;
    });
  };
  return {
    depth,
    async make(came, ended) {
      for (const at of came) open.push({ came: at, ended });
      unsent += came.length * size;
      send();
      await driver.flush(cpu);
    },
    async look() {
      port?.drain((bytes) => {
        for (let taken = bytes.length; taken > 0; ) {
          const part = Math.min(taken, left);
          taken -= part;
          left -= part;
          if (left > 0) continue;
          left = size;
          const operation = open.shift();
          operation?.ended(operation.came, size, true);
        }
        return bytes.length;
      });
      send();
      return driver.flush(cpu);
    },
  };
}
