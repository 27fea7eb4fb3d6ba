import { showDuration } from '@remio/telemetry';
import { topologyOf } from '../topology-file.js';
import { type Bench, MiB, median, PINNED_CPU, ratioList, reportsOf, scratchDisk, topologyPath } from './bench.js';
import { measureFloor } from './floor-chain.js';

/** Bytes of the floor's messages: those of an access are no longer. */
const BYTES = 64;

const variant = (what: string, pinned: boolean) => {
  const figures = { ratios: [] as number[], floors: [] as number[], ours: [] as number[] };
  return { what, pinned, ...figures };
};

/** One register read, one vCPU, three processes: against four bare messages through the same chain. */
export const mmio: Bench = {
  async measure({ quick, runs, progress }) {
    const disk = scratchDisk(MiB);
    const variants = [variant('all pinned to one core', true), variant('not pinned', false)];
    try {
      const topology = topologyOf(topologyPath('ping-aarch64'), [disk.path]);
      for (let run = 0; run < runs; run += 1) {
        for (const { pinned, ratios, floors, ours } of variants) {
          progress.at(run, 'runs');
          const { p50 } = await measureFloor({ count: quick ? 2000 : 5000, bytes: BYTES, pinned });
          const [report] = await reportsOf(topology, 'mmio-ping', 1, pinned ? { hostCpu: PINNED_CPU } : {});
          const roundTrip = report?.['p50Ns'] ?? 0;
          floors.push(p50);
          ours.push(roundTrip);
          ratios.push(roundTrip / p50);
        }
      }
    } finally {
      disk.remove();
    }
    return {
      title: 'one remote register read (four frames); the floor: four 64-byte ZeroMQ messages; medians',
      rows: variants.map(({ what, ratios, floors, ours }) => ({
        what,
        figure: showDuration(median(ours)),
        floor: showDuration(median(floors)),
        ratio: median(ratios),
        bar: 'at most 1.25',
      })),
      notes: variants.map(({ what, ratios }) => `ratios of the runs, ${what}: ${ratioList(ratios)}`),
      data: Object.fromEntries(
        variants.map(({ pinned, ratios, floors, ours }) => [
          pinned ? 'pinned' : 'unpinned',
          { ratio: median(ratios), ratios, floorNs: median(floors), roundTripNs: median(ours), frames: 4 },
        ]),
      ),
    };
  },
};
