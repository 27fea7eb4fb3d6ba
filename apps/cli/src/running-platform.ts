import { cpSync, existsSync, readdirSync, renameSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { err } from '@remio/base';
import { makeDirectories } from '@remio/host-io';
import { peerKeys, protectionOf } from '@remio/hypervisor';
import { type MetricsAddress, showAddress } from '@remio/metrics';
import { OBSERVER } from '@remio/protocol';
import { RunDirectory, sharedMemoryProblem } from '@remio/shared-memory';
import { type Topology, usesStdio, writeChecked } from '@remio/topology';
import { Connection, type ConnectionHandler, type PeerKeys } from '@remio/transport';
import { CommandError, EXIT } from './exit-codes.js';
import { type Placed, placeVms } from './placement.js';
import { type ChildEvent, Supervisor } from './supervisor.js';

/** The compiled entry of a process, beside the part's own. */
const entryOf = (part: string, file: string): string =>
  join(dirname(fileURLToPath(import.meta.resolve(`@remio/${part}`))), file);

export interface PlatformOptions {
  readonly topology: Topology;
  /** `ipc` (a socket in the run directory), or an endpoint. */
  readonly endpoint?: string;
  /** Whether the endpoint may be one that other hosts reach. */
  readonly plaintext?: boolean;
  /** Directory of the secret keys, as `remio keys` makes it; absent: nobody proves who he is. */
  readonly keys?: string;
  readonly record?: string;
  /** Where the hypervisor serves metrics; the other processes do at the ports that follow. */
  readonly metrics?: MetricsAddress;
  /** Physical CPU of the host to pin every process to. */
  readonly hostCpu?: number;
  /** Whether failed VM processes are started again. */
  readonly restart?: boolean;
  /** Processes of each kind for the VMs that the topology puts on no host; absent: by how many VMs there are. */
  readonly processes?: number;
  /** Folder for the processes' logs if the boot fails; made then. Absent: they are not kept. */
  readonly failureLogs?: string;
  /** Ends the boot: whoever waits for it is stopped. */
  readonly signal?: AbortSignal;
  onReport(vm: string, event: unknown): void;
  onChild?(event: ChildEvent): void;
}

const HYPERVISOR = 'hypervisor';
/** Milliseconds between looks for a hypervisor. */
const LOOK_MS = 100;

/** A platform of separate processes: the hypervisor, those that run VMs, and this one as an observer. */
export class RunningPlatform {
  readonly supervisor: Supervisor;
  readonly endpoint: string;
  readonly runDirectory: string;
  /** Where each process serves metrics, by its name; empty: none does. */
  readonly metrics: ReadonlyMap<string, MetricsAddress>;
  /** Processes that run VMs. */
  readonly processes: readonly Placed[];
  readonly #options: PlatformOptions;
  readonly #directory: RunDirectory;
  #observer: Connection | undefined;
  #stopped = false;

  private constructor(
    options: PlatformOptions,
    supervisor: Supervisor,
    endpoint: string,
    directory: RunDirectory,
    metrics: ReadonlyMap<string, MetricsAddress>,
    processes: readonly Placed[],
  ) {
    this.#options = options;
    this.metrics = metrics;
    this.processes = processes;
    this.supervisor = supervisor;
    this.endpoint = endpoint;
    this.runDirectory = directory.path;
    this.#directory = directory;
  }

  /**
   * Boots a topology: the hypervisor first, then backends, then frontends.
   * @throws CommandError that says what failed, or that it was stopped; nothing is left then
   */
  static async boot(options: PlatformOptions): Promise<RunningPlatform> {
    const problem = sharedMemoryProblem();
    if (problem !== undefined) throw new CommandError(problem, EXIT.ENVIRONMENT);
    const { topology } = options;
    const keys = keysOf(options);
    const directory = RunDirectory.create();
    const endpoint = options.endpoint ?? `ipc://${join(directory.path, 'hypervisor.sock')}`;
    const supervisor = new Supervisor(directory.path, (event) => {
      if (event.kind === 'ended' && event.name === HYPERVISOR && event.restarts) keepRecording(options.record);
      options.onChild?.(event);
    });
    const hostCpu = options.hostCpu === undefined ? {} : { hostCpu: options.hostCpu };
    const checked = join(directory.path, 'topology');
    writeChecked(checked, topology);
    const keyArguments = options.keys === undefined ? [] : ['--keys', options.keys];
    const common = ['--checked', checked, '--run-dir', directory.path, ...keyArguments];
    const restart = options.restart ?? true;
    // Processes that are starting are ended as others are, and the start of each then fails.
    const onAbort = (): void => void supervisor.stop();
    options.signal?.addEventListener('abort', onAbort);
    try {
      options.signal?.throwIfAborted();
      const processes = placeVms(topology, options.processes);
      const addresses = metricsOf(options.metrics, [HYPERVISOR, ...processes.map(({ name }) => name)]);
      await supervisor.start({
        name: HYPERVISOR,
        entry: entryOf('hypervisor', 'service/main.js'),
        args: [
          ...common,
          '--endpoint',
          endpoint,
          ...(options.plaintext === true ? ['--plaintext'] : []),
          ...(options.record === undefined ? [] : ['--record', options.record]),
          ...metricsArguments(addresses, HYPERVISOR),
        ],
        restart: restart && topology.onHypervisorLoss === 'reconnect',
        last: true,
        ...hostCpu,
      });
      const platform = new RunningPlatform(options, supervisor, endpoint, directory, addresses, processes);
      const problem = await platform.#observe(keys);
      if (problem !== undefined) throw new Error(problem);
      const start = (part: Placed['part']): Promise<unknown> =>
        Promise.all(
          processes
            .filter((process) => process.part === part)
            .map(({ name, vms }) =>
              supervisor.start({
                name,
                entry: entryOf(part, 'main.js'),
                args: [
                  ...common,
                  ...vms.flatMap((vm) => ['--vm', vm.name]),
                  '--connect',
                  endpoint,
                  ...metricsArguments(addresses, name),
                ],
                restart,
                stdio: usesStdio(vms),
                ...hostCpu,
              }),
            ),
        );
      await start('backend-vm');
      await start('frontend-vm');
      return platform;
    } catch (error) {
      await supervisor.stop();
      if (options.failureLogs !== undefined && options.signal?.aborted !== true)
        copyLogs(directory.path, options.failureLogs);
      directory.remove();
      throw new CommandError(error instanceof Error ? error.message : String(error), EXIT.ENVIRONMENT);
    } finally {
      options.signal?.removeEventListener('abort', onAbort);
    }
  }

  /** Attaches to the hypervisor, as who watches; returns why it cannot. */
  async #observe(keys: PeerKeys | undefined): Promise<string | undefined> {
    const { topology, onReport } = this.#options;
    const handler: ConnectionHandler = {
      onRecords: () => {},
      onLost: (_, loss) => {
        this.#observer = undefined;
        // The VMs have given it up by then. Nobody can have what is its own before it has ended.
        if (loss === 'silent' && !this.#stopped) this.supervisor.kill(HYPERVISOR);
        if (topology.onHypervisorLoss === 'reconnect') void this.#observeAnew(keys);
      },
      onReport,
    };
    const attached = await Connection.attach(this.endpoint, topology.digest, [], handler, keys);
    if (!attached.ok) return attached.error.reason;
    this.#observer = attached.value;
    if (this.#stopped) attached.value.close();
    return undefined;
  }

  /** The hypervisor was lost: attaches to the one that takes its place, and ends one that lives and does not answer. */
  async #observeAnew(keys: PeerKeys | undefined): Promise<void> {
    const pid = (): number | undefined => this.supervisor.pids().get(HYPERVISOR);
    for (let asked: number | undefined; !this.#stopped; await sleep(LOOK_MS)) {
      const before = pid();
      if ((await this.#observe(keys)) === undefined || this.#stopped) return;
      // Twice it had all the time that there is for an answer: the first time, it may have been starting.
      if (before !== undefined && before === asked && pid() === before) this.supervisor.kill(HYPERVISOR);
      asked = before;
    }
  }

  /** Asks the hypervisor. */
  async query(what: string, argument: unknown = null): Promise<unknown> {
    const answer = (await this.#observer?.query(what, argument)) ?? err('it is gone');
    if (!answer.ok) throw new CommandError(`the hypervisor: ${answer.error}`, EXIT.ENVIRONMENT);
    return answer.value;
  }

  /** Copies the processes' logs, as far as they are written, into a folder, which is made. */
  keepLogs(folder: string): void {
    copyLogs(this.runDirectory, folder);
  }

  /** Ends the processes of VMs, which report for the last time. */
  async stopVms(): Promise<void> {
    await this.supervisor.stopFirst();
  }

  /** Ends every process and removes what they shared. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#observer?.close();
    await this.supervisor.stop();
    this.#directory.remove();
  }
}

/** What a hypervisor recorded that was lost stays: the next one records under the name that it was given. */
function keepRecording(path: string | undefined): void {
  if (path === undefined || !existsSync(path)) return;
  let n = 1;
  while (existsSync(`${path}.${n}`)) n += 1;
  renameSync(path, `${path}.${n}`);
}

function copyLogs(from: string, to: string): void {
  makeDirectories(to);
  for (const name of readdirSync(from)) if (name.endsWith('.log')) cpSync(join(from, name), join(to, name));
}

/**
 * The keys of this process, as an observer. What is wrong with those of the others is said before anything starts.
 * @throws CommandError
 */
function keysOf({ topology, endpoint, keys, plaintext }: PlatformOptions): PeerKeys | undefined {
  const protection = protectionOf({ topology, endpoint: endpoint ?? 'ipc://', keys, plaintext: plaintext === true });
  if (!protection.ok) throw new CommandError(protection.error, EXIT.USAGE);
  if (keys === undefined) return undefined;
  const all = peerKeys(topology, [OBSERVER, ...topology.vms.map(({ name }) => name)], keys);
  if (!all.ok) throw new CommandError(all.error, EXIT.USAGE);
  return all.value;
}

/** Processes in their order, from the given port on. */
function metricsOf(first: MetricsAddress | undefined, names: readonly string[]): ReadonlyMap<string, MetricsAddress> {
  if (first === undefined) return new Map();
  return new Map(names.map((name, n) => [name, { host: first.host, port: first.port + n }]));
}

function metricsArguments(addresses: ReadonlyMap<string, MetricsAddress>, name: string): readonly string[] {
  const address = addresses.get(name);
  return address === undefined ? [] : ['--metrics', showAddress(address)];
}

/** A directory for copies of images, gone with this process; if it is killed, with the next one's start. */
export const scratchDirectory = (): RunDirectory => RunDirectory.create(tmpdir());

export const copyImage = (from: string, to: string): void => cpSync(from, to);
export const writeImage = (path: string, bytes: Uint8Array): void => writeFileSync(path, bytes);
