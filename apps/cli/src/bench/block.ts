import { open } from 'node:fs/promises';
import type { Topology } from '@remio/topology';
import { topologyOf } from '../topology-file.js';
import { type Bench, MiB, median, ratioList, reportsOf, scratchDisk, topologyPath } from './bench.js';

/** Reads in flight. */
const DEPTH = 32;
/** What both read, once everything is warm: less, and compilers are what is measured. */
const BYTES = 8192 * MiB;

/** Sequential 1 MiB reads of a file in the page cache, {@link DEPTH} in flight, into plain buffers: bytes per second. */
async function plainReads(path: string, total: number): Promise<number> {
  const file = await open(path, 'r');
  const { size } = await file.stat();
  const start = process.hrtime.bigint();
  let issued = 0;
  await Promise.all(
    Array.from({ length: DEPTH }, async () => {
      const buffer = Buffer.alloc(MiB);
      while (issued < total) {
        const position = issued % size;
        issued += MiB;
        await file.read(buffer, 0, MiB, position);
      }
    }),
  );
  const rate = total / (Number(process.hrtime.bigint() - start) / 1e9);
  await file.close();
  return rate;
}

const show = (rate: number): string => `${(rate / MiB).toFixed(0)} MiB/s`;

/** How the driver learns of reads that have ended. */
const VARIANTS = [
  { what: 'virtio-blk, polled', poll: true, bar: 'at least 0.5' },
  { what: 'virtio-blk, by interrupts', poll: false, bar: '' },
] as const;

const polling = (topology: Topology, poll: boolean): Topology => ({
  ...topology,
  vms: topology.vms.map((vm) =>
    vm.program.name === 'blk-read'
      ? { ...vm, program: { ...vm.program, options: { ...(vm.program.options as object), poll } } }
      : vm,
  ),
});

/** Bulk: virtio-blk across processes, against the same reads without VMs. */
export const block: Bench = {
  async measure({ runs, progress }) {
    const disk = scratchDisk(64 * MiB);
    const floors: number[] = [];
    const measured = VARIANTS.map((variant) => ({
      ...variant,
      rates: [] as number[],
      ratios: [] as number[],
      kicks: 0,
      interrupts: 0,
    }));
    try {
      const topology = topologyOf(topologyPath('bench-block'), [disk.path]);
      for (let run = 0; run < runs; run += 1) {
        progress.at(run, 'runs');
        await plainReads(disk.path, BYTES / 4);
        const under = await plainReads(disk.path, BYTES);
        floors.push(under);
        for (const variant of measured) {
          const [report = {}] = await reportsOf(polling(topology, variant.poll), 'blk-read', 1);
          const { bytes = 0, ns = 1, notifications = 0, requests = 1, interrupts = 0 } = report;
          const rate = bytes / (ns / 1e9);
          variant.kicks = notifications / requests;
          variant.interrupts = interrupts / requests;
          variant.rates.push(rate);
          variant.ratios.push(rate / under);
        }
      }
    } finally {
      disk.remove();
    }
    return {
      title: `sequential 1 MiB reads from the page cache, ${DEPTH} in flight; the floor: fs.read into plain buffers; medians`,
      rows: measured.map(({ what, bar, rates, ratios }) => ({
        what,
        figure: show(median(rates)),
        floor: show(median(floors)),
        ratio: median(ratios),
        bar,
      })),
      notes: measured.flatMap(({ what, kicks, interrupts, ratios }) => [
        `${what}, per request: ${kicks.toFixed(3)} trapped notifications, ${interrupts.toFixed(3)} interrupts; ratios of the runs: ${ratioList(ratios)}`,
      ]),
      data: measured.map(({ what, rates, ratios, kicks, interrupts }) => ({
        what,
        ratio: median(ratios),
        ratios,
        floor: median(floors),
        rate: median(rates),
        kicks,
        interrupts,
      })),
    };
  },
};
