import type { Bench } from './bench.js';

/** A benchmark as `remio --help` knows it: what it needs is loaded when it is run. */
export interface ListedBench {
  readonly name: string;
  readonly description: string;
  load(): Promise<Bench>;
}

/** Every benchmark, in the order in which docs/performance.md speaks of them. */
export const BENCHES: readonly ListedBench[] = [
  {
    name: 'mmio',
    description: 'one remote register read across three processes',
    load: async () => (await import('./mmio.js')).mmio,
  },
  {
    name: 'throughput',
    description: 'remote register reads a second across three processes, with 64 and 256 vCPUs in flight',
    load: async () => (await import('./throughput.js')).throughput,
  },
  {
    name: 'scale',
    description: 'CPU time of a remote register read among 10, 100 and 1,000 VMs, 8 of which read',
    load: async () => (await import('./scale.js')).scale,
  },
  {
    name: 'inproc',
    description: 'remote register reads a second in one process, through the whole path',
    load: async () => (await import('./inproc.js')).inproc,
  },
  {
    name: 'core',
    description: 'traps that the Remio I/O core completes a second',
    load: async () => (await import('./core.js')).core,
  },
  {
    name: 'ring',
    description: 'virtqueue requests a second, driver plus device',
    load: async () => (await import('./ring.js')).ring,
  },
  {
    name: 'block',
    description: 'sequential 1 MiB virtio-blk reads across processes',
    load: async () => (await import('./block.js')).block,
  },
  {
    name: 'nbd',
    description: 'fio on a disk over NBD, through two VMs',
    load: async () => (await import('./nbd.js')).nbd,
  },
  {
    name: 'boot',
    description: 'from a topology file to the first I/O of every VM: 2, 100 and 1,000 VMs',
    load: async () => (await import('./many.js')).bootBench,
  },
  {
    name: 'memory',
    description: 'memory of idle VMs, all processes together: 10, 100 and 1,000 VMs',
    load: async () => (await import('./many.js')).memoryBench,
  },
  {
    name: 'world',
    description: 'events of virtual time a second',
    load: async () => (await import('./world.js')).world,
  },
];
