import { join } from 'node:path';
import {
  type DeviceCase,
  type DevicePlace,
  type DriverCase,
  deviceCasesFor,
  driverCasesFor,
  familyOf,
  HONEST,
  hasLayout,
  type Layout,
  type Outcome,
  placeName,
  placesOf,
  type Trial,
  trialOf,
} from '@remio/hostile';
import type { Topology } from '@remio/topology';
import { deferred } from './deferred.js';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import type { HostileCopy, HostileJob } from './hostile/job.js';
import { HostileRunner } from './hostile/runner.js';
import { renderTrial, renderVerdicts } from './hostile/table.js';
import { Progress } from './progress.js';
import { scratchDirectory } from './running-platform.js';
import { topologyOf } from './topology-file.js';

export interface HostileOptions {
  readonly image: readonly string[];
  /** `a`: devices; `b`: drivers; absent: both. */
  readonly catalogue?: 'a' | 'b';
  /** `VM/DEVICE`, or the device's name alone; absent: all. */
  readonly device?: string;
  /** Ids of cases; none: all. */
  readonly case: readonly string[];
  /** Seconds that a case has to come to its end. */
  readonly bound: number;
  readonly json: boolean;
}

/** How long a driver that is lied to has to come to its end: so much, and so many times what it takes otherwise. */
const LIED_TO_MS = 3000;
const LIED_TO_TIMES = 10;

const LAYOUTS: readonly Layout[] = ['split', 'packed'];

/** What is tried: cases of one side of one device, in one layout. */
interface Plan {
  readonly what: string;
  readonly layout: Layout;
  readonly cases: readonly (DeviceCase | DriverCase)[];
  job(each: DeviceCase | DriverCase): HostileJob;
}

/** Something that cannot be tried, and why. */
interface LeftOut {
  readonly what: string;
  readonly reason: string;
}

/** `remio hostile`: tries the catalogues on the devices and drivers of a topology, and shows the verdicts. */
export async function hostile(file: string, options: HostileOptions): Promise<ExitCode> {
  const topology = topologyOf(file, options.image);
  const all = placesOf(topology);
  const places = chosen(topology, all, options.device);
  const scratch = scratchDirectory();
  const runner = new HostileRunner(topology.file, copies(topology, scratch.path));
  const stopped = deferred<ExitCode>();
  const onSignal = (signal: NodeJS.Signals): void => stopped.resolve(signal === 'SIGINT' ? EXIT.SIGINT : EXIT.SIGTERM);
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  try {
    return await Promise.race([tryAll(all, places, runner, options), stopped.promise]);
  } finally {
    runner.stop();
    scratch.remove();
  }
}

async function tryAll(
  all: readonly DevicePlace[],
  places: readonly DevicePlace[],
  runner: HostileRunner,
  options: HostileOptions,
): Promise<ExitCode> {
  const plans: Plan[] = [];
  const leftOut: LeftOut[] = [];
  for (const place of places) {
    const index = all.indexOf(place);
    const planned = [
      ...(options.catalogue === 'b' ? [] : await planDevice(runner, place, index, options)),
      ...(options.catalogue === 'a' ? [] : await planDriver(runner, place, index, options)),
    ];
    for (const plan of planned) {
      if ('reason' in plan) leftOut.push(plan);
      else if (plan.cases.length > 0) plans.push(plan);
    }
  }
  const total = plans.reduce((sum, { cases }) => sum + cases.length, 0);
  const print = (value: object, text: string): void => console.log(options.json ? JSON.stringify(value) : text);
  if (total === 0) {
    const reasons = leftOut.map(({ what, reason }) => `${what}: ${reason}`).join('\n');
    throw new CommandError(`nothing was tried\n${reasons}`.trim(), EXIT.USAGE);
  }
  const progress = new Progress(total, { json: options.json });
  const trials: Trial[] = [];
  for (const { what, layout, cases, job } of plans) {
    progress.clear();
    if (!options.json) console.log(`\n== ${what}, ${layout} queues`);
    for (const each of cases) {
      progress.at(trials.length, `${each.id} ${each.title}`);
      const trial = trialOf(each, what, layout, await outcomeOf(runner, job(each)));
      trials.push(trial);
      progress.clear();
      print({ trial }, renderTrial(trial));
    }
  }
  progress.clear();
  for (const one of leftOut) print({ leftOut: one }, `\nleft out: ${one.what}: ${one.reason}`);
  const wrong = trials.filter(({ ok }) => !ok).length;
  print({ cases: trials.length, wrong, leftOut: leftOut.length }, `\n${renderVerdicts(trials)}`);
  return wrong === 0 ? EXIT.OK : EXIT.FAILED;
}

/** What becomes of a case. A process that does not live through it is no verdict of a device, whatever it did. */
async function outcomeOf(runner: HostileRunner, job: HostileJob): Promise<Outcome> {
  const answer = await runner.run(job);
  if (answer === 'hangs') return { seen: 'W', detail: 'it keeps its process busy for ever' };
  if (answer === 'dies') return { seen: 'F', detail: 'its process ends' };
  if (answer.kind === 'outcome') return answer.outcome;
  return { seen: 'F', detail: answer.kind === 'impossible' ? answer.reason : 'no answer' };
}

const wanted = (options: HostileOptions) => (each: DeviceCase | DriverCase) =>
  options.case.length === 0 || options.case.includes(each.id);

/** Catalogue A for a device, by what it says that it is. */
async function planDevice(
  runner: HostileRunner,
  place: DevicePlace,
  index: number,
  options: HostileOptions,
): Promise<readonly (Plan | LeftOut)[]> {
  const bound = options.bound * 1000;
  const what = `device ${placeName(place)}`;
  const answer = await runner.run({ kind: 'survey', place: index, layout: 'split', bound });
  if (answer === 'hangs' || answer === 'dies' || answer.kind !== 'survey') {
    const reason =
      typeof answer === 'string' ? `asking what it is: ${answer}` : 'reason' in answer ? answer.reason : '';
    return [{ what, reason }];
  }
  const { deviceId, offered } = answer.survey;
  const [{ name }] = familyOf(deviceId);
  return LAYOUTS.filter((layout) => hasLayout(place, layout, 0n)).map(
    (layout): Plan => ({
      what: `${what} (${name})`,
      layout,
      cases: deviceCasesFor(deviceId, BigInt(`0x${offered}`), layout).filter(wanted(options)),
      job: ({ id, title }) => ({ kind: 'device', place: index, layout, id, title, bound }),
    }),
  );
}

/** Catalogue B for the driver of a device: what its frontend runs, as long as that ends by itself. */
async function planDriver(
  runner: HostileRunner,
  place: DevicePlace,
  index: number,
  options: HostileOptions,
): Promise<readonly (Plan | LeftOut)[]> {
  const bound = options.bound * 1000;
  const what = `driver ${placeName(place)}`;
  const { program } = place.backend;
  if (program.kind === 'module' || program.name !== 'dispatcher') {
    return [{ what, reason: `backend ${place.backend.name} runs a program of its own, which cannot be made to lie` }];
  }
  const survey = await runner.run({ kind: 'survey', place: index, layout: 'split', bound });
  const deviceId = typeof survey === 'object' && survey.kind === 'survey' ? survey.survey.deviceId : 0;
  const plans: (Plan | LeftOut)[] = [];
  for (const layout of LAYOUTS.filter((one) => hasLayout(place, one, 0n))) {
    const jobWithin =
      (within: number) =>
      ({ id, title }: DeviceCase | DriverCase): HostileJob => ({
        kind: 'driver',
        place: index,
        layout,
        id,
        title,
        bound: within,
      });
    const began = performance.now();
    const honest = await outcomeOf(runner, jobWithin(bound)(HONEST));
    // Whoever is lied to may take a while longer.
    const job = jobWithin(Math.min(bound, LIED_TO_MS + LIED_TO_TIMES * (performance.now() - began)));
    if (honest.seen !== 'C') {
      const reason =
        honest.seen === 'W'
          ? 'its program does not end by itself: there is nothing to judge it by'
          : `with a device that tells the truth, it ends as ${honest.seen}: ${honest.detail ?? ''}`;
      plans.push({ what: `${what}, ${layout} queues`, reason });
      continue;
    }
    const cases = driverCasesFor(deviceId, layout).filter(({ ring }) => hasLayout(place, layout, ring));
    plans.push({ what, layout, cases: cases.filter(wanted(options)), job });
  }
  return plans;
}

function chosen(topology: Topology, all: readonly DevicePlace[], device: string | undefined): readonly DevicePlace[] {
  if (all.length === 0) throw new CommandError(`${topology.file} has no device`, EXIT.USAGE);
  if (device === undefined) return all;
  const places = all.filter((place) => placeName(place) === device || place.end.name === device);
  if (places.length > 0) return places;
  throw new CommandError(
    `${topology.file} has no device ${device}; it has ${all.map(placeName).join(', ')}`,
    EXIT.USAGE,
  );
}

/**
 * Disk images and shared directories, and where copies of them go: hostile drivers, and drivers that are lied to, write what
 * they like.
 */
function copies(topology: Topology, directory: string): readonly HostileCopy[] {
  const all = new Map<string, HostileCopy>();
  for (const { remioDevs } of topology.vms) {
    for (const { name, device } of remioDevs) {
      if (device?.kind !== 'builtin') continue;
      const { choice } = device;
      const from =
        choice.type === 'block' ? choice.options.image : choice.type === 'fs' ? choice.options.directory : undefined;
      if (from !== undefined) all.set(name, { name, from, to: join(directory, name) });
    }
  }
  return [...all.values()];
}
