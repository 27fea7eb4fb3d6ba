import { isSynthetic } from '@remio/board';
import type { RemioDev, Topology, Vm } from '@remio/topology';
import { CPUMAP_BITS } from './export-config.js';
import type { ExportRule } from './problems.js';
import type { Path } from './topology-text.js';

/** What Bao's messages carry of keys and interrupts: a byte. */
const BYTE_MAX = 255;
/** Device models that Linux's I/O dispatcher has room for. */
const DEVICE_MODELS_MAX = 16;

/** Tells of a problem: where in the topology, what, and what to do. */
export type Tell = (rule: ExportRule, path: Path, message: string, fix: string) => void;

export interface Tellers {
  readonly error: Tell;
  /** A limit of the reference, which a changed Bao may not have: an error unless it was asked for. */
  readonly limit: Tell;
  readonly warning: Tell;
}

/** Tells of all that Bao cannot carry of a topology. */
export function checkExport(topology: Topology, { error, limit, warning }: Tellers): void {
  const { board } = topology;
  if (isSynthetic(board.name)) {
    const fix = `export for a board that exists, or describe one with ${board.cpus.length} CPUs to Bao`;
    warning('bao-board', ['board'], `Bao has no platform ${board.name}: it exists nowhere`, fix);
  }
  for (const vm of topology.vms) {
    const path: Path = ['vms', vm.name];
    if (vm.memory.length === 0) {
      const message = `VM ${vm.name} has no memory to load its image to: it gets 64 MiB`;
      warning('bao-memory', path, message, 'add memory: [{ base: 0x…, size: … }]');
    }
    const beyond = vm.cpus.find((cpu) => cpu >= CPUMAP_BITS);
    if (beyond !== undefined) {
      const message = `CPU ${beyond} of ${vm.name} has no bit in Bao's map of ${CPUMAP_BITS} CPUs`;
      limit('bao-cpus', [...path, 'cpus'], message, 'use a smaller board, or --wide for a Bao with wider maps');
    }
    checkEnds(vm, path, { error, limit, warning });
  }
}

function checkEnds(vm: Vm, path: Path, { error, limit }: Tellers): void {
  const frontends = vm.remioDevs.filter(({ type }) => type === 'frontend');
  const backends = vm.remioDevs.length - frontends.length;
  if (backends > DEVICE_MODELS_MAX) {
    const message = `VM ${vm.name} has ${backends} backend ends; Linux's I/O dispatcher has room for ${DEVICE_MODELS_MAX}`;
    limit(
      'bao-dispatcher',
      [...path, 'remio_devs'],
      message,
      'spread them over more VMs, or --wide for a driver with more room',
    );
  }
  const endsAt = new Map<bigint, RemioDev>();
  for (const end of frontends) endsAt.set(end.window.base + BigInt(end.window.size), end);
  for (const end of vm.remioDevs) {
    const place: Path = [...path, 'remio_devs', end.dm];
    if (end.bindKey > BigInt(BYTE_MAX)) {
      const message = `Bao's messages cut bind key ${end.bindKey} of ${end.name} to ${end.bindKey & 0xffn}`;
      limit(
        'bao-limits',
        [...place, 'bind_key'],
        message,
        'choose a key up to 255, or --wide for a Bao with wider messages',
      );
    }
    if (end.interrupt > BYTE_MAX) {
      const message = `Bao's messages cut interrupt ${end.interrupt} of ${end.name} to ${end.interrupt % 256}`;
      const fix = 'choose an interrupt up to 255, or --wide for a Bao with wider messages';
      limit('bao-limits', [...place, 'interrupt'], message, fix);
    }
    const lower = end.type === 'frontend' ? endsAt.get(end.window.base) : undefined;
    if (lower !== undefined && lower.dm < end.dm) {
      const message = `the window of ${lower.name} ends where that of ${end.name} starts: Bao sends the first byte of ${end.name} to ${lower.name}`;
      error('bao-window', [...place, 'window'], message, `list ${end.name} before ${lower.name}`);
    }
    const [frontend] = frontends;
    if (end.type === 'backend' && frontend !== undefined && frontend.dm < end.dm) {
      const message = `Linux's I/O dispatcher takes dm_id ${end.dm} of ${end.name} for a smaller one: it counts backends only`;
      error('bao-dispatcher', place, message, `list ${end.name} before the frontend ${frontend.name}`);
    }
  }
}
