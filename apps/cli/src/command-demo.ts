import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Prng } from '@remio/base';
import { renderTable, showDuration, showRate } from '@remio/telemetry';
import { deferred } from './deferred.js';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { Progress } from './progress.js';
import { copyImage, RunningPlatform, scratchDirectory, writeImage } from './running-platform.js';
import { type PlatformStatus, type Reports, renderHops } from './status.js';
import { topologyOf } from './topology-file.js';

/** Bytes of the disk that is made when none is given. */
const DISK_BYTES = 64 * 1024 * 1024;
/** What a topology's bar counts: the boot, and each of its two disks. */
const STAGES = 3;
/** Milliseconds for one topology's work. */
const WORK_MS = 60_000;

/** The demo's topologies, in the order in which they are shown. */
const TOPOLOGIES = ['demo-aarch64', 'demo-riscv64', 'demo-aarch64-smp', 'demo-riscv64-smp'] as const;

export interface DemoOptions {
  readonly disk?: string;
  readonly json: boolean;
}

/** What `blk-verify` reports. */
interface Verified {
  readonly device: string;
  readonly sha256: string;
  readonly bytes: number;
  readonly vcpus: number;
  readonly readNs: number;
  readonly writes: number;
  readonly mismatches: number;
  readonly failed: number;
  readonly counters: {
    readonly requests: number;
    readonly notifications: number;
    readonly interrupts: number;
    readonly accesses: number;
  };
}

/** `remio demo`: both architectures, real processes, a real disk, every byte checked. */
export async function demo(options: DemoOptions): Promise<ExitCode> {
  const scratch = scratchDirectory();
  const progress = new Progress(STAGES * TOPOLOGIES.length, options);
  const stopped = deferred<ExitCode>();
  const stopping = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    stopped.resolve(signal === 'SIGINT' ? EXIT.SIGINT : EXIT.SIGTERM);
    stopping.abort();
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  try {
    const original = options.disk === undefined ? makeDisk(scratch.path) : resolve(options.disk);
    const expected = sha256Of(original);
    say(options, `disk ${options.disk ?? '(generated)'}: SHA-256 ${expected}`);
    let good = true;
    for (const [index, name] of TOPOLOGIES.entries()) {
      const stage = (n: number, what: string): void => progress.at(STAGES * index + n, `${name}: ${what}`);
      const file = join(import.meta.dirname, '..', '..', '..', 'deploy', 'topologies', `${name}.yaml`);
      const ended = await one(file, name, original, scratch.path, expected, options, stopping.signal, stage).catch(
        (error: unknown) => {
          // What a signal interrupts fails in its own way.
          if (!stopping.signal.aborted) throw error;
          return 'stopped' as const;
        },
      );
      progress.clear();
      if (ended === 'stopped') return stopped.promise;
      good &&= ended === 'good';
    }
    say(options, good ? 'every disk was read whole, and every block read back as written' : 'FAILED: see above');
    return good ? EXIT.OK : EXIT.FAILED;
  } finally {
    progress.clear();
    scratch.remove();
  }
}

const say = (options: DemoOptions, text: string): void => {
  if (!options.json) console.log(text);
};

function makeDisk(directory: string): string {
  const bytes = new Uint8Array(DISK_BYTES);
  new Prng(20_240_229).fill(bytes);
  const path = join(directory, 'original.img');
  writeImage(path, bytes);
  return path;
}

function sha256Of(path: string): string {
  try {
    return createHash('sha256').update(readFileSync(path)).digest('hex');
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`disk ${path} cannot be read: ${reason}; give a readable file with --disk`, EXIT.USAGE);
  }
}

async function one(
  file: string,
  name: string,
  original: string,
  scratch: string,
  expected: string,
  options: DemoOptions,
  signal: AbortSignal,
  stage: (done: number, what: string) => void,
): Promise<'good' | 'bad' | 'stopped'> {
  // The VMs write: each disk is a copy, and the original is never opened for writing.
  const images = ['disk0', 'disk1'].map((device) => {
    const copy = join(scratch, `${name}-${device}.img`);
    copyImage(original, copy);
    return `${device}=${copy}`;
  });
  const topology = topologyOf(file, images);
  const waiting = new Set(topology.vms.filter((vm) => vm.name.startsWith('guest')).map((vm) => vm.name));
  const verified = new Map<string, Verified>();
  const problems: string[] = [];
  const finished = deferred<'done'>();
  const started = process.hrtime.bigint();
  stage(0, 'booting');
  const platform = await RunningPlatform.boot({
    topology,
    signal,
    onReport: (vm, event) => {
      const report = event as { readonly kind?: string; readonly vcpu?: number; readonly reason?: string };
      if (report.kind === 'blk-verify') {
        verified.set(vm, event as Verified);
        stage(1 + verified.size, 'disks');
      }
      if (report.kind === 'vcpu-off' && report.reason !== undefined) problems.push(`${vm}: ${report.reason}`);
      if (report.kind === 'vcpu-off' && report.vcpu === 0) waiting.delete(vm);
      if (waiting.size === 0) finished.resolve('done');
    },
  });
  const stopped = new Promise<'stopped'>((settle) => signal.addEventListener('abort', () => settle('stopped')));
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<'late'>((settle) => {
    timer = setTimeout(() => settle('late'), WORK_MS);
  });
  try {
    const booted = process.hrtime.bigint();
    stage(1 + verified.size, 'disks');
    const how = await Promise.race([finished.promise, stopped, late]);
    if (how === 'stopped') return how;
    if (how === 'late') problems.push(`no answer of ${[...waiting].join(', ')} within ${WORK_MS / 1000} s`);
    const status = (await platform.query('status')) as PlatformStatus;
    const reports = (await platform.query('reports')) as Reports;
    const good =
      problems.length === 0 &&
      verified.size === 2 &&
      [...verified.values()].every((disk) => disk.sha256 === expected && disk.mismatches === 0 && disk.failed === 0);
    if (options.json) {
      console.log(JSON.stringify({ topology: name, good, problems, disks: [...verified.values()], status, reports }));
    } else {
      const total = `booted in ${showDuration(Number(booted - started))}, done in ${showDuration(Number(process.hrtime.bigint() - started))}`;
      console.log(`\n== ${name} on ${topology.board.name} (${topology.board.cpus.length} CPUs): ${total}`);
      for (const problem of problems) console.log(`   problem: ${problem}`);
      console.log(renderDisks(verified, status, expected));
      console.log(`\n${renderHops(status, reports, 'guest0', 'backend')}`);
    }
    return good ? 'good' : 'bad';
  } finally {
    clearTimeout(timer);
    await platform.stop();
  }
}

function renderDisks(verified: ReadonlyMap<string, Verified>, status: PlatformStatus, expected: string): string {
  return renderTable([
    ['device', 'vCPUs', 'SHA-256', 'read', 'written back', 'requests', 'MMIO accesses', 'kicks', 'interrupts'],
    ...[...verified.values()].map((disk) => {
      const device = status.vms.flatMap((vm) => vm.devices).find((candidate) => candidate.name === disk.device);
      return [
        disk.device,
        String(disk.vcpus),
        disk.sha256 === expected ? 'equal' : 'DIFFERENT',
        showRate(disk.bytes, disk.readNs),
        disk.mismatches === 0 && disk.failed === 0 ? `${disk.writes} blocks, equal` : `${disk.mismatches} DIFFERENT`,
        String(disk.counters.requests),
        String(device?.accesses ?? 0),
        String(disk.counters.notifications),
        String(disk.counters.interrupts),
      ];
    }),
  ]);
}
