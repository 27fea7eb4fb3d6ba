import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { basename, join } from 'node:path';
import { Prng } from '@remio/base';
import { BUILTIN_PROGRAMS, loadTopology, type RemioDev, type Topology, type Vm } from '@remio/topology';
import { readShipped } from './topologies.js';

const KiB = 1024;
const IMAGE_BYTES = 256 * KiB;
const INPUT_BYTES = 32 * KiB;
const GREETING = 'from the host';
const ANSWER = 'from the guest';

export type Report = Readonly<Record<string, unknown>>;

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Something that has to happen: a report that says so, or something that the host sees. */
interface Task {
  readonly name: string;
  /** Undefined: the report is of something else. Otherwise what is wrong with it; empty: nothing. */
  judge?(vm: string, report: Report): string | undefined;
  /** Looks at the host; whether it has happened. */
  look?(): boolean;
}

/** A report's fields that must have these values. */
const wrong = (report: Report, fields: Report): string =>
  Object.entries(fields)
    .filter(([key, value]) => report[key] !== value)
    .map(([key, value]) => `${key} is ${String(report[key])} instead of ${String(value)}`)
    .join(', ');

/**
 * A topology in a directory of its own with all that it needs of the host, and what has to happen there: each driver that
 * it names does its work on real content, and the host compares what it gets to see.
 */
export class Exercise {
  readonly topology: Topology;
  readonly file: string;
  readonly #open: Map<string, Task>;
  readonly #problems: string[] = [];
  readonly #servers: Server[] = [];
  /** By IPC memory and side: hashes of what was sent and received. */
  readonly #said = new Map<string, Report[]>();
  #settle: () => void = () => {};

  /** @param directory empty; everything that the topology names lies there afterwards */
  constructor(shipped: string, directory: string) {
    this.file = join(directory, basename(shipped));
    writeFileSync(this.file, readFileSync(shipped));
    const tasks = this.#prepare(readShipped(this.file).topology);
    this.#open = new Map(tasks.map((task) => [task.name, task]));
    const { topology, text } = loadTopology(this.file, { programs: BUILTIN_PROGRAMS });
    if (topology === undefined) throw new Error(text);
    this.topology = topology;
  }

  /** Takes what a VM reports. */
  report(vm: string, report: Report): void {
    const { kind, reason } = report;
    if (reason !== undefined && ['driver-failed', 'drivers-ended', 'vcpu-off'].includes(String(kind))) {
      this.#problems.push(`${vm}: ${String(kind)}: ${String(reason)}`);
    }
    if (kind === 'vsock') this.#talk(vm, String(report['device']));
    for (const [name, task] of this.#open) {
      const judged = task.judge?.(vm, report);
      if (judged === undefined) continue;
      this.#open.delete(name);
      if (judged !== '') this.#problems.push(`${name}: ${judged}`);
    }
    this.#look();
  }

  /** Settles when everything happened, something went wrong, or the time is over; what is wrong then. */
  async over(milliseconds: number): Promise<readonly string[]> {
    const looking = setInterval(() => this.#look(), 20);
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((done) => {
      this.#settle = done;
      timer = setTimeout(done, milliseconds);
      this.#look();
    });
    clearInterval(looking);
    clearTimeout(timer);
    for (const server of this.#servers) server.close();
    for (const [memory, [a, b]] of this.#said) {
      if (a?.['sentSha256'] !== b?.['receivedSha256'] || b?.['sentSha256'] !== a?.['receivedSha256']) {
        this.#problems.push(`${memory}: its sides do not agree`);
      }
    }
    return [...this.#problems, ...[...this.#open.keys()].map((name) => `${name}: nothing within the time`)];
  }

  #look(): void {
    for (const [name, task] of this.#open) if (task.look?.() === true) this.#open.delete(name);
    if (this.#open.size === 0 || this.#problems.length > 0) this.#settle();
  }

  /** Makes what the topology needs of the host, and says what has to happen. */
  #prepare({ vms }: Topology): readonly Task[] {
    const devices = new Map(
      vms.flatMap(({ remioDevs }) => remioDevs.filter(({ type }) => type === 'backend')).map((end) => [end.name, end]),
    );
    const tasks: Task[] = [];
    for (const vm of vms) {
      for (const end of vm.remioDevs) {
        if (end.type === 'frontend') tasks.push(...this.#device(vm, end, devices.get(end.name)));
      }
      for (const { name, driver } of vm.ipcs) {
        if (driver === undefined) continue;
        const { messages } = driver.options;
        tasks.push({
          name: `${vm.name}: exchange over ${name}`,
          judge: (from, report) => {
            if (report['kind'] !== 'ipc-exchange' || report['ipc'] !== name || from !== vm.name) return undefined;
            this.#said.set(name, [...(this.#said.get(name) ?? []), report]);
            return wrong(report, { sent: messages, received: messages, mismatches: 0 });
          },
        });
      }
    }
    return tasks;
  }

  #device(vm: Vm, end: RemioDev, backend: RemioDev | undefined): readonly Task[] {
    const choice = backend?.device?.kind === 'builtin' ? backend.device.choice : undefined;
    const driver = end.driver?.type ?? (vm.program.kind === 'builtin' ? vm.program.name : '');
    const named = `${vm.name}: ${driver} of ${end.name}`;
    const reported = (kind: string, judge: (report: Report) => string): Task => ({
      name: named,
      judge: (_, report) => (report['kind'] === kind && report['device'] === end.name ? judge(report) : undefined),
    });
    switch (choice?.type) {
      case 'block': {
        const bytes = random(IMAGE_BYTES, end.shmem.id);
        writeFileSync(choice.options.image, bytes);
        return [reported('blk-verify', (report) => wrong(report, { sha256: sha256(bytes), mismatches: 0, failed: 0 }))];
      }
      case 'fs': {
        const bytes = random(INPUT_BYTES, end.shmem.id);
        mkdirSync(choice.options.directory, { recursive: true });
        writeFileSync(join(choice.options.directory, 'file.bin'), bytes);
        return [
          reported('fs-check', (report) => {
            const found = report['found'] as readonly Report[];
            return wrong({ ...report, sha256: found[0]?.['sha256'] }, { sha256: sha256(bytes), mismatches: 0 });
          }),
        ];
      }
      case 'net':
        if (end.driver?.type !== 'netstack' || end.driver.options.ping === undefined) return [];
        return [reported('ping', (report) => wrong(report, { lost: 0, received: report['sent'] }))];
      case 'entropy': {
        if (end.driver?.type !== 'rng') return [];
        const { bytes } = end.driver.options;
        return [reported('rng', (report) => wrong(report, { bytes }))];
      }
      case 'console': {
        const [port] = choice.options.ports;
        if (port?.line.kind !== 'file') return [];
        const { input = '', output = '' } = port.line;
        const bytes = random(INPUT_BYTES, end.shmem.id);
        writeFileSync(input, bytes);
        const echoed = (): boolean => existsSync(output) && readFileSync(output).equals(bytes);
        return [{ name: named, look: echoed }];
      }
      case 'vsock':
        return [this.#socket(named, end)];
      default:
        return [];
    }
  }

  /** A program of the guest's host that answers, for those that come through the socket device. */
  #socket(name: string, end: RemioDev): Task {
    let heard = '';
    const [port] = end.driver?.type === 'vsock' ? end.driver.options.accept : [];
    if (port !== undefined) {
      const server = createServer((socket) => {
        socket.setEncoding('utf8').on('data', (text: string) => {
          heard += text;
        });
        socket.on('error', () => {});
        socket.end(ANSWER);
      });
      this.#servers.push(server.listen(port.connect));
    }
    return { name: `${name}, to the guest`, look: () => heard === GREETING };
  }

  /** A program of the host that talks to a guest through the socket device. */
  #talk(vm: string, device: string): void {
    const ends = this.topology.vms.flatMap(({ remioDevs }) => remioDevs).filter(({ name }) => name === device);
    const choice = ends.flatMap((end) => (end.device?.kind === 'builtin' ? [end.device.choice] : []))[0];
    const [port] = ends.flatMap((end) => (end.driver?.type === 'vsock' ? end.driver.options.accept : []));
    if (choice?.type !== 'vsock' || choice.options.uds === undefined || port === undefined) return;
    let answer = '';
    const name = `${vm}: vsock of ${device}, to the host`;
    this.#open.set(name, { name, look: () => answer.endsWith(`\n${ANSWER}`) });
    const client = connect(choice.options.uds);
    client.on('error', (error) => this.#problems.push(`${name}: ${error.message}`));
    client.setEncoding('utf8').on('data', (text: string) => {
      answer += text;
    });
    client.end(`CONNECT ${port.port}\n${GREETING}`);
  }
}

function random(bytes: number, seed: number): Buffer {
  const content = Buffer.alloc(bytes);
  new Prng(seed + 1).fill(content);
  return content;
}
