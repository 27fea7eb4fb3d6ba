import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Prng } from '@remio/base';
import { showDuration, showRate } from '@remio/telemetry';
import { deferred } from './deferred.js';
import { type Echoed, echo, serveEcho } from './echo.js';
import { EXIT, type ExitCode } from './exit-codes.js';
import { RunningPlatform, scratchDirectory, writeImage } from './running-platform.js';
import { topologyOf } from './topology-file.js';

const TOPOLOGIES = ['demo-devices-aarch64', 'demo-devices-riscv64'] as const;
const KiB = 1024;
const DISK_BYTES = 4 * KiB * KiB;
const LINE_BYTES = 256 * KiB;
const SOCKET_BYTES = 4 * KiB * KiB;
/** Milliseconds that one topology has. */
const WORK_MS = 60_000;

export interface DemoDevicesOptions {
  readonly json: boolean;
}

/** What one device showed. */
interface Row {
  readonly family: string;
  readonly device: string;
  readonly good: boolean;
  readonly what: string;
}

type Report = Readonly<Record<string, unknown>>;

const num = (value: unknown): number => (typeof value === 'number' ? value : Number.NaN);

/** What the host prepares for a run, and what it expects the guests to find. */
interface Scene {
  readonly directory: string;
  readonly diskHash: string;
  /** SHA-256 of the files that the guest finds in the shared directory, by name. */
  readonly files: ReadonlyMap<string, string>;
}

/** Reads a report of a guest's driver: undefined for reports that are no result. */
type Judge = (report: Report, scene: Scene) => Omit<Row, 'device'> | undefined;

/** What each family's driver has to report for its device to count as working. */
const JUDGES: Readonly<Record<string, Judge>> = {
  'blk-verify': (report, scene) => ({
    family: 'block',
    good: report['sha256'] === scene.diskHash && report['mismatches'] === 0 && report['failed'] === 0,
    what: `whole disk read at ${showRate(num(report['bytes']), num(report['readNs']))}, SHA-256 the file's; ${report['writes']} random blocks written, flushed, read back`,
  }),
  'fs-check': (report, scene) => {
    const found = report['found'] as readonly { readonly path: string; readonly sha256: string }[];
    const written = report['written'] as readonly unknown[];
    const equal = found.filter(({ path, sha256 }) => scene.files.get(path.replace(/^\//, '')) === sha256).length;
    return {
      family: 'file system',
      good: equal === scene.files.size && written.length > 0 && report['mismatches'] === 0,
      what: `${equal} files of the host read, SHA-256 equal; ${written.length} files written, renamed and read back; no path leads out`,
    };
  },
  rng: (report) => ({
    family: 'entropy',
    // 255 degrees of freedom: beyond these bounds less than once in a million runs.
    good: num(report['chiSquare']) > 150 && num(report['chiSquare']) < 400,
    what: `${num(report['bytes']) / KiB} KiB of random bytes, chi-square ${num(report['chiSquare']).toFixed(0)} of 255`,
  }),
  ping: (report) => ({
    family: 'network',
    good: report['lost'] === 0,
    what: `${report['received']} of ${report['sent']} pings to ${report['to']} through the switch, mean ${showDuration(num((report['ns'] as Report | null)?.['mean']))}`,
  }),
  'i2c-check': (report) => {
    const sensors = report['sensors'] as readonly { readonly millicelsius: number }[];
    const eeproms = report['eeproms'] as readonly { readonly content: string; readonly written: boolean }[];
    const celsius = sensors.map(({ millicelsius }) => `${millicelsius / 1000} \u00b0C`).join(', ');
    return {
      family: 'I2C',
      good: sensors.length === 1 && eeproms.length === 1 && eeproms.every(({ written }) => written),
      what: `chips found: a sensor that says ${celsius}, an EEPROM that says "${eeproms[0]?.content}"; a page of it written and read back`,
    };
  },
  'gpio-check': (report) => ({
    family: 'GPIO',
    good: num(report['edges']) > 0 && report['interrupts'] === report['edges'] && report['wrong'] === 0,
    what: `${report['interrupts']} of ${report['edges']} edges of one line came as interrupts of the other, with its level`,
  }),
};

/** Devices whose driver reports, and the console and the sockets, which the host tries out itself. */
const EXPECTED = ['disk', 'share', 'rng', 'net0', 'console', 'vsock', 'i2c', 'gpio'] as const;

/** `remio demo devices`: every device family does real work, on both architectures, and is held to its result. */
export async function demoDevices(options: DemoDevicesOptions): Promise<ExitCode> {
  const stopped = deferred<ExitCode>();
  process.on('SIGINT', () => stopped.resolve(EXIT.SIGINT));
  process.on('SIGTERM', () => stopped.resolve(EXIT.SIGTERM));
  let good = true;
  for (const name of TOPOLOGIES) {
    const scratch = scratchDirectory();
    try {
      const rows = await run(prepare(scratch.path, name), name, stopped.promise);
      if (typeof rows === 'number') return rows;
      good &&= rows.every((row) => row.good);
      if (options.json) console.log(JSON.stringify({ topology: name, rows }));
      else console.log(`\n== ${name}\n${renderRows(rows)}`);
    } finally {
      scratch.remove();
    }
  }
  if (!options.json) console.log(good ? '\nevery device did its work' : '\nFAILED: see above');
  return good ? EXIT.OK : EXIT.FAILED;
}

/** A directory with the topology, the disk and the files that the guest is to find. */
function prepare(directory: string, name: string): Scene {
  const file = join(import.meta.dirname, '..', '..', '..', 'deploy', 'topologies', `${name}.yaml`);
  cpSync(file, join(directory, `${name}.yaml`));
  const prng = new Prng(7);
  const disk = new Uint8Array(DISK_BYTES);
  prng.fill(disk);
  writeImage(join(directory, 'disk.img'), disk);
  mkdirSync(join(directory, 'share'));
  const files = new Map<string, string>();
  for (const [file, bytes] of [
    ['readme.txt', 100],
    ['data.bin', 300 * KiB],
  ] as const) {
    const content = new Uint8Array(bytes);
    prng.fill(content);
    writeFileSync(join(directory, 'share', file), content);
    files.set(file, sha256(content));
  }
  return { directory, diskHash: sha256(readFileSync(join(directory, 'disk.img'))), files };
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

async function run(scene: Scene, name: string, stopped: Promise<ExitCode>): Promise<readonly Row[] | ExitCode> {
  const topology = topologyOf(join(scene.directory, `${name}.yaml`));
  const rows = new Map<string, Row>();
  const complete = deferred<'complete'>();
  const add = (row: Row): void => {
    rows.set(row.device, row);
    if (EXPECTED.every((device) => rows.has(device))) complete.resolve('complete');
  };
  // Where the guest takes connections to its port 7.
  const server = await serveEcho(join(scene.directory, 'echo.sock'));
  server.unref();
  const platform = await RunningPlatform.boot({
    topology,
    onReport: (_, event) => {
      const report = event as Report;
      const device = String(report['device'] ?? '');
      if (report['kind'] === 'driver-failed') add({ family: '', device, good: false, what: String(report['reason']) });
      // Nobody can connect to the guest before its driver is there.
      if (report['kind'] === 'vsock') {
        void echo(join(scene.directory, 'guest1'), SOCKET_BYTES, 'CONNECT 7\n').then((echoed) =>
          add(echoRow('sockets', 'vsock', "the guest's port 7", echoed)),
        );
      }
      const judged = JUDGES[String(report['kind'])]?.(report, scene);
      if (judged !== undefined) add({ device, ...judged });
    },
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((settle) => {
    timer = setTimeout(() => settle('late'), WORK_MS);
  });
  try {
    void echo(join(scene.directory, 'console.sock'), LINE_BYTES).then((echoed) =>
      add(echoRow('console', 'console', 'the guest', echoed)),
    );
    const how = await Promise.race([complete.promise, stopped, late]);
    if (typeof how === 'number') return how;
    const missing = EXPECTED.filter((device) => !rows.has(device));
    const silent = missing.map(
      (device): Row => ({ family: '', device, good: false, what: `nothing within ${WORK_MS / 1000} s` }),
    );
    return [...rows.values(), ...silent];
  } finally {
    clearTimeout(timer);
    await platform.stop();
    server.close();
  }
}

const echoRow = (family: string, device: string, to: string, echoed: Echoed): Row => ({
  family,
  device,
  good: echoed.problem === undefined,
  what: echoed.problem ?? `${showBytes(echoed.bytes)} to ${to} and back at ${showRate(echoed.bytes, echoed.ns)}, equal`,
});

const showBytes = (bytes: number): string => (bytes >= KiB * KiB ? `${bytes / KiB / KiB} MiB` : `${bytes / KiB} KiB`);

const renderRows = (rows: readonly Row[]): string =>
  [...rows]
    .sort((a, b) => a.family.localeCompare(b.family))
    .map(
      ({ family, device, good, what }) =>
        `${good ? 'good ' : 'WRONG'}  ${family.padEnd(12)} ${device.padEnd(8)} ${what}`,
    )
    .join('\n');
