import { constants, cpSync, lstatSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { backendPrograms, deviceMaker, dispatcher } from '@remio/backend-vm';
import { assert } from '@remio/base';
import { frontendPrograms } from '@remio/frontend-vm';
import {
  ALL_DEVICE_CASES,
  type DevicePlace,
  DRIVER_CASES,
  HONEST,
  type HostilePlatform,
  placesOf,
  surveyDevice,
  tryDeviceCase,
  tryDriver,
} from '@remio/hostile';
import { programOf } from '@remio/vm-runtime';
import { topologyOf } from '../topology-file.js';
import type { HostileAnswer, HostileCopy, HostileJob } from './job.js';

/** A process of its own for cases: one that never gives way is ended, and the next case gets another. */

/** How many times faster the clock goes where a driver waits for a device that lies. */
const RATE = 100;

/** Bytes of images and directories up to which every case gets copies of its own. */
const FRESH_MAX = 256 * 1024 * 1024;

const [file = '', copies = '[]'] = process.argv.slice(2);
const copied = JSON.parse(copies) as readonly HostileCopy[];
const fresh = copied.reduce((sum, { from }) => sum + bytesOf(from), 0) <= FRESH_MAX;
copyAll();
const topology = topologyOf(
  file,
  copied.map(({ name, to }) => `${name}=${to}`),
);
const platform: HostilePlatform = {
  topology,
  program: (vm) => programOf(vm, { ...backendPrograms, ...frontendPrograms }),
  dispatcher,
  deviceMaker,
};
const places = placesOf(topology);

/** Bytes of a file, or of everything in a directory. */
function bytesOf(path: string): number {
  const stat = lstatSync(path);
  if (!stat.isDirectory()) return stat.size;
  return readdirSync(path).reduce((sum, name) => sum + bytesOf(join(path, name)), 0);
}

/** Puts copies in the place of what earlier cases left. */
function copyAll(): void {
  for (const { from, to } of copied) {
    rmSync(to, { recursive: true, force: true });
    cpSync(from, to, { recursive: true, mode: constants.COPYFILE_FICLONE });
  }
}

async function answer(job: HostileJob): Promise<HostileAnswer> {
  if (fresh) copyAll();
  const place = places[job.place];
  assert(place !== undefined, 'the device is of the topology');
  switch (job.kind) {
    case 'survey': {
      const survey = await surveyDevice(platform, place, { bound: job.bound, rate: 1 });
      if (typeof survey === 'string') return { kind: 'impossible', reason: survey };
      return { kind: 'survey', survey: { ...survey, offered: survey.offered.toString(16) } };
    }
    case 'device':
      return { kind: 'outcome', outcome: await tryA(place, job) };
    case 'driver': {
      const each = [HONEST, ...DRIVER_CASES].find(({ id, title }) => id === job.id && title === job.title);
      assert(each !== undefined, 'the case is of the catalogue');
      const options = { bound: job.bound, rate: RATE };
      return { kind: 'outcome', outcome: await tryDriver(platform, place, each, job.layout, options) };
    }
  }
}

function tryA(place: DevicePlace, { id, title, layout, bound }: HostileJob): ReturnType<typeof tryDeviceCase> {
  const each = ALL_DEVICE_CASES.find((one) => one.id === id && one.title === title && one.layouts.includes(layout));
  assert(each !== undefined, 'the case is of the catalogue');
  return tryDeviceCase(platform, place, each, layout, { bound, rate: 1 });
}

process.on('message', (job: HostileJob) => {
  answer(job).then(
    (result) => process.send?.(result),
    (error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      process.send?.({ kind: 'impossible', reason } satisfies HostileAnswer);
    },
  );
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
