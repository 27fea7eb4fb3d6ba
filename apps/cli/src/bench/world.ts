import { assert } from '@remio/base';
import { readPlan, runPoint } from '@remio/experiments';
import { type Bench, median, showPerSecond } from './bench.js';

/** Thirty-two frontends read registers of devices of four backends, as fast as they can. */
const PLATFORM = `name: world
title: Events
platform: { frontends: 32, backends: 4 }
workload: { type: mmio }
`;

/** Events of virtual time in a second of the host's, from boot to end. */
async function eventsPerSecond(milliseconds: number): Promise<number> {
  const { plan } = readPlan(`${PLATFORM}measure: { warm_up: 1ms, duration: ${milliseconds}ms }\n`, 'bench');
  const [point] = plan?.points ?? [];
  assert(point !== undefined, 'the experiment is one');
  const start = process.hrtime.bigint();
  const { events = 0 } = await runPoint(point.settings, 1);
  return events / (Number(process.hrtime.bigint() - start) / 1e9);
}

/** Virtual time. */
export const world: Bench = {
  async measure({ quick, runs, progress }) {
    const length = quick ? 100 : 1000;
    const rates: number[] = [];
    await eventsPerSecond(length);
    for (let run = 0; run < runs; run += 1) {
      progress.at(run, 'runs');
      rates.push(await eventsPerSecond(length));
    }
    return {
      title: 'virtual time: 32 frontends that read registers of 4 backends, in one process; median',
      rows: [{ what: 'events', figure: showPerSecond(median(rates)), bar: '500,000/s' }],
      data: { eventsPerSecond: median(rates), rates },
    };
  },
};
