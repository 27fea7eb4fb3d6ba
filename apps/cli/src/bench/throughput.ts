import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { starTopology, type Topology } from '@remio/topology';
import { scratchDirectory } from '../running-platform.js';
import { topologyOf } from '../topology-file.js';
import { type Bench, median, ratioList, reportsOf, showPerSecond } from './bench.js';
import { measureFloor } from './floor-chain.js';

/** vCPUs that read at the same time, each a VM with a device of its own; and what is to be reached. */
const IN_FLIGHT = [
  { vcpus: 64, bar: '80,000/s' },
  { vcpus: 256, bar: '150,000/s' },
] as const;
/** Bytes that a record of the floor has: as many as one message of an access. */
const RECORD = 64;

function pings(vcpus: number, amount: number): Topology {
  const scratch = scratchDirectory();
  try {
    const file = join(scratch.path, 'star.yaml');
    writeFileSync(
      file,
      starTopology({ arch: 'aarch64', frontends: vcpus, vcpus: 1, perBackend: vcpus, work: 'ping', amount }),
    );
    return topologyOf(file, [], 'quiet');
  } finally {
    scratch.remove();
  }
}

/** Many vCPUs at once: against the same number of records, all in one frame, through the same chain without our code. */
export const throughput: Bench = {
  async measure({ quick, runs, progress }) {
    const amount = quick ? 1000 : 5000;
    const measured = IN_FLIGHT.map(({ vcpus, bar }) => ({
      vcpus,
      bar,
      topology: pings(vcpus, amount),
      rates: [] as number[],
      floors: [] as number[],
      ratios: [] as number[],
    }));
    for (let run = 0; run < runs; run += 1) {
      for (const { vcpus, topology, rates, floors, ratios } of measured) {
        progress.at(run, 'runs');
        const { perSecond } = await measureFloor({ count: quick ? 1000 : 4000, bytes: vcpus * RECORD, pinned: false });
        const reports = await reportsOf(topology, 'mmio-ping', vcpus, { processes: 1 });
        const slowest = Math.max(...reports.map(({ totalNs = 0 }) => totalNs));
        const rate = (vcpus * amount) / (slowest / 1e9);
        rates.push(rate);
        floors.push(perSecond * vcpus);
        ratios.push((perSecond * vcpus) / rate);
      }
    }
    return {
      title:
        'remote register reads across three processes; the floor: as many 64-byte records in one frame, forwarded unread; ' +
        'the ratio is that of the costs; medians',
      rows: measured.map(({ vcpus, bar, rates, floors, ratios }) => ({
        what: `${vcpus} vCPUs`,
        figure: showPerSecond(median(rates)),
        floor: showPerSecond(median(floors)),
        ratio: median(ratios),
        bar,
      })),
      notes: measured.map(({ vcpus, ratios }) => `ratios of the runs, ${vcpus} vCPUs: ${ratioList(ratios)}`),
      data: measured.map(({ vcpus, rates, floors, ratios }) => ({
        vcpus,
        readsPerSecond: median(rates),
        rates,
        floor: median(floors),
        ratio: median(ratios),
      })),
    };
  },
};
