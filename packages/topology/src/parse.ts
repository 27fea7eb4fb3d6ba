import { type BuildOptions, buildTopology } from './build.js';
import { checkTopology } from './checks/index.js';
import { deviceProblems } from './devices/index.js';
import type { Diagnostic } from './diagnostics.js';
import type { TopologyFiles } from './end-context.js';
import { linesOf } from './lines.js';
import type { Path } from './path.js';
import { TopologySource } from './reader.js';
import { similarName } from './similar.js';
import type { Topology } from './types.js';

export interface ParseOptions extends BuildOptions {
  readonly files: TopologyFiles;
  /** Names of built-in programs. */
  readonly programs: readonly string[];
  /** VMs whose images, directories, sockets and modules must be there; absent: those of all. Other hosts have what others need. */
  readonly filesOf?: readonly string[];
}

/** A topology, if there were no errors, and everything there is to say about the file. */
export interface Parsed {
  readonly topology: Topology | undefined;
  readonly diagnostics: readonly Diagnostic[];
}

/** Reads and checks a topology. Nothing is started that has not passed. */
export function parseTopology(text: string, file: string, options: ParseOptions): Parsed {
  const source = new TopologySource(text, file);
  const topology = source.data === undefined ? undefined : buildTopology(source, source.data, options);
  if (topology !== undefined) {
    // Without its memory an end is compared with the wrong one; other mistakes so far stand for themselves.
    if (!source.diagnostics.some(({ rule }) => rule === 'shared-memory-unknown')) checkTopology(source, topology);
    checkFiles(source, topology, options);
    checkSockets(source, topology, options);
  }
  return { topology: source.failed ? undefined : topology, diagnostics: source.diagnostics };
}

/** The longest `_PORT` that follows the path of a socket device. */
const VSOCK_SUFFIX = '_4294967295';

function checkSockets(source: TopologySource, topology: Topology, { files, filesOf }: ParseOptions): void {
  for (const { vm, end, line, place } of linesOf(topology)) {
    if (line.kind !== 'listen' || filesOf?.includes(vm.name) === false) continue;
    const longest = place[1] === 'uds' ? line.path + VSOCK_SUFFIX : line.path;
    const message = files.socketProblem?.(longest);
    if (message === undefined) continue;
    const fix = 'name a shorter path, in a directory that there is';
    source.error('socket', ['vms', vm.name, 'remio_devs', end.dm, ...place], message, fix);
  }
}

function checkFiles(source: TopologySource, topology: Topology, options: ParseOptions): void {
  const { files, programs, filesOf } = options;
  for (const vm of topology.vms) {
    const { program } = vm;
    const path: Path = ['vms', vm.name, 'program'];
    const here = filesOf?.includes(vm.name) ?? true;
    if (here && program.kind === 'module' && !files.exists(program.name)) {
      source.error('module', path, `there is no file ${program.name}`, 'correct the path; it counts from this file');
    }
    if (program.kind === 'builtin' && !programs.includes(program.name)) {
      const near = similarName(program.name, programs);
      source.error(
        'program',
        path,
        `there is no built-in program ${program.name}`,
        near === undefined ? `choose from ${programs.join(', ')}, or name a module` : `write ${near}`,
        ...(near === undefined ? [] : [{ kind: 'set', path, value: near } as const]),
      );
    }
    for (const { dm, device } of vm.remioDevs) {
      if (device === undefined || !here) continue;
      const place: Path = ['vms', vm.name, 'remio_devs', dm, 'device'];
      if (device.kind === 'module') {
        if (!files.exists(device.name)) {
          source.error(
            'module',
            place,
            `there is no file ${device.name}`,
            'correct the path; it counts from this file',
          );
        }
        continue;
      }
      for (const { rule, field, message, fix } of deviceProblems(device.choice, files)) {
        source.error(rule, [...place, field], message, fix);
      }
    }
  }
}
