import { open } from 'node:fs/promises';
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

/** Bulk: virtio-blk across processes, against the same reads without VMs. */
export const block: Bench = {
  name: 'block',
  description: 'sequential 1 MiB virtio-blk reads across processes',
  async measure({ runs, progress }) {
    const disk = scratchDisk(64 * MiB);
    const ratios: number[] = [];
    const floors: number[] = [];
    const ours: number[] = [];
    let kicks = 0;
    let interrupts = 0;
    try {
      const topology = topologyOf(topologyPath('bench-block'), [disk.path]);
      for (let run = 0; run < runs; run += 1) {
        progress.at(run, 'runs');
        await plainReads(disk.path, BYTES / 4);
        const under = await plainReads(disk.path, BYTES);
        const [report = {}] = await reportsOf(topology, 'blk-read', 1);
        const { bytes = 0, ns = 1, notifications = 0, requests = 1, interrupts: raised = 0 } = report;
        const rate = bytes / (ns / 1e9);
        kicks = notifications / requests;
        interrupts = raised / requests;
        floors.push(under);
        ours.push(rate);
        ratios.push(rate / under);
      }
    } finally {
      disk.remove();
    }
    const data = { ratio: median(ratios), ratios, floor: median(floors), rate: median(ours), kicks, interrupts };
    return {
      title: `sequential 1 MiB reads from the page cache, ${DEPTH} in flight; the floor: fs.read into plain buffers; medians`,
      rows: [
        {
          what: 'virtio-blk across processes',
          figure: show(data.rate),
          floor: show(data.floor),
          ratio: data.ratio,
          bar: 'at least 0.5',
        },
      ],
      notes: [
        `per request: ${kicks.toFixed(3)} trapped notifications, ${interrupts.toFixed(3)} interrupts`,
        `ratios of the runs: ${ratioList(ratios)}`,
      ],
      data,
    };
  },
};
