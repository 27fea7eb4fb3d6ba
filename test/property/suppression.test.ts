import { dispatcher } from '@remio/backend-vm';
import { blkRead } from '@remio/frontend-vm';
import type { GuestProgram } from '@remio/guest';
import type { Vm } from '@remio/topology';
import { BlockDevice, type BlockStorage, MemoryStorage } from '@remio/virtio-device';
import { InprocEngine } from '@remio/vm-runtime';
import { describe, expect, it } from 'vitest';
import { topologyOf } from '../support/pair.js';

const topologyText = (ring: string): string => `
board: qemu-aarch64-virt
shared_memories:
  disk0: { size: 16MiB }
vms:
  backend:
    cpus: 1
    remio_devs:
      - { name: disk0, type: backend, bind_key: 0, interrupt: 40, shmem: { memory: disk0, base: 0xd0000000 }, device: { module: disk.js }, ring: ${ring} }
  guest0:
    cpus: 1
    program: { module: read.js }
    remio_devs:
      - { name: disk0, type: frontend, bind_key: 0, interrupt: 79, shmem: { memory: disk0, base: 0xd0000000 }, window: { base: 0xa003e00 } }
`;

/** A disk whose requests end one by one, each in a turn of its own of the host, as those of a file do at worst. */
class OneByOne implements BlockStorage {
  readonly #disk = new MemoryStorage(new Uint8Array(1 << 20));
  readonly #waiting: (() => void)[] = [];
  readonly capacity = this.#disk.capacity;
  readonly readOnly = false;

  read(position: number, buffers: readonly Uint8Array[], done: (ok: boolean) => void): void {
    this.#wait(() => this.#disk.read(position, buffers, done));
  }
  write(position: number, buffers: readonly Uint8Array[], done: (ok: boolean) => void): void {
    this.#wait(() => this.#disk.write(position, buffers, done));
  }
  flush(done: (ok: boolean) => void): void {
    this.#wait(() => done(true));
  }
  close(): Promise<void> {
    return Promise.resolve();
  }

  #wait(end: () => void): void {
    this.#waiting.push(end);
    if (this.#waiting.length === 1) setImmediate(() => this.#next());
  }
  #next(): void {
    this.#waiting.shift()?.();
    if (this.#waiting.length > 0) setImmediate(() => this.#next());
  }
}

interface Figures {
  readonly requests: number;
  readonly notifications: number;
  readonly interrupts: number;
  /** NOTIFY hypercalls of the backend, as the hypervisor counts them, bring-up included. */
  readonly notifies: number;
}

/** Reads with 32 requests in flight, on a platform in one process. */
async function figures(ring: string): Promise<Figures> {
  const topology = topologyOf(topologyText(ring));
  const program = (vm: Vm): GuestProgram =>
    vm.name === 'guest0'
      ? blkRead({ readSize: 4096, depth: 32, bytes: 16 << 20 })
      : dispatcher(() => Promise.resolve(new BlockDevice(new OneByOne())));
  return new Promise((resolve, reject) => {
    const engine = InprocEngine.create(topology, program, {
      report: (vm, event) => {
        if (event.kind === 'blk-read' && engine.ok) {
          const { platform } = engine.value;
          resolve({
            requests: Number(event['requests']),
            notifications: Number(event['notifications']),
            interrupts: Number(event['interrupts']),
            notifies: platform.deviceStats(engine.value.vm('guest0'))[0]?.notifications ?? 0,
          });
        }
        if (event.kind !== 'vcpu-off') return;
        if (event['reason'] !== undefined) reject(new Error(`${vm.name}: ${String(event['reason'])}`));
        if (engine.ok) void engine.value.stop();
      },
      log: () => {},
    });
    if (!engine.ok) throw new Error(engine.error);
    engine.value.start();
  });
}

const LAYOUTS = [
  ['split', 'packed: false'],
  ['packed', 'packed: true'],
] as const;

describe('2.7.7.2, 2.7.10, 2.8.10: a disk with 32 requests in flight', () => {
  it.each(LAYOUTS)(
    '%s: with EVENT_IDX, at most one trapped notification and one interrupt for 8 requests',
    async (_, ring) => {
      const { requests, notifications, interrupts, notifies } = await figures(`{ ${ring} }`);
      expect(requests).toBe(4096);
      expect(requests / notifications).toBeGreaterThanOrEqual(8);
      expect(requests / interrupts).toBeGreaterThanOrEqual(8);
      // The hypervisor counts the warm-up as well, a quarter as long.
      expect((requests * 1.25) / notifies).toBeGreaterThanOrEqual(8);
    },
  );

  it.each(LAYOUTS)('%s: without EVENT_IDX, each request that ends alone interrupts', async (_, ring) => {
    const { requests, notifications, interrupts } = await figures(`{ ${ring}, event_idx: false }`);
    expect(requests / notifications).toBeGreaterThanOrEqual(8);
    expect(interrupts).toBe(requests);
  });
});
