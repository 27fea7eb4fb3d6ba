import type { Topology } from '@remio/topology';
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { imageNames } from './export-names.js';
import { isRawMap, listAt, mapAt, type Raw, type RawMap, type TopologyText } from './topology-text.js';
import { type YamlValue, yamlText } from './yaml-text.js';

/** Name and version of the sidecar's format. */
export const SIDECAR_FORMAT = 'remio-sidecar/1';
export const SIDECAR_NAME = 'remio.yaml';

/** Fields that Bao's configuration says itself, by where they stand in a topology. */
const SAID_BY_BAO = {
  topology: ['shared_memories', 'vms'],
  sharedMemory: ['size', 'phys'],
  vm: ['cpus', 'memory', 'remio_devs', 'ipcs'],
  end: ['type', 'bind_key', 'window', 'interrupt', 'shmem'],
  ipc: ['memory', 'base', 'size', 'interrupts'],
} as const;

/** Fields of devices, drivers and programs that are paths, which count from the topology's file. */
export const PATH_FIELDS: ReadonlySet<string> = new Set([
  'image',
  'directory',
  'capture',
  'uds',
  'pty',
  'listen',
  'connect',
  'input',
  'output',
  'socket',
  'module',
]);

/** Whether a string that starts so is a path of the file system, and not of a topology's folder. */
export type Relocate = (path: string) => string;

/** A value with its paths as they are from somewhere else. What programs' own options are, nobody knows but they. */
export function relocated(value: Raw, relocate: Relocate): Raw {
  if (Array.isArray(value)) return value.map((item) => relocated(item as Raw, relocate));
  if (!isRawMap(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [
      name,
      name === 'options'
        ? inner
        : PATH_FIELDS.has(name) && typeof inner === 'string'
          ? relocate(inner)
          : relocated(inner, relocate),
    ]),
  );
}

/** A board as a topology names it: a path too, where it is a user's. */
export const relocatedBoard = (board: Raw, relocate: Relocate): Raw => {
  if (typeof board === 'string') return board.includes('/') || /\.ya?ml$/.test(board) ? relocate(board) : board;
  const name = isRawMap(board) ? board['name'] : undefined;
  return isRawMap(board) && name !== undefined ? { ...board, name: relocatedBoard(name, relocate) } : board;
};

const without = (map: RawMap, fields: readonly string[]): RawMap =>
  Object.fromEntries(Object.entries(map).filter(([name]) => !fields.includes(name)));

/** What a part of a topology says besides what Bao's configuration says. */
const extras = (raw: Raw | undefined, said: readonly string[], relocate: Relocate): RawMap =>
  relocated(without(isRawMap(raw) ? raw : {}, said), relocate) as RawMap;

/** What of a topology Bao's configuration cannot say, for an import to read again. */
export function sidecarText(topology: Topology, source: TopologyText, label: string, relocate: Relocate): string {
  const names = imageNames(topology);
  const memories = mapAt(source.raw, 'shared_memories');
  const vms = mapAt(source.raw, 'vms');
  const value = {
    format: SIDECAR_FORMAT,
    topology: {
      ...without(isRawMap(source.raw) ? source.raw : {}, SAID_BY_BAO.topology),
      board: relocatedBoard(isRawMap(source.raw) ? (source.raw['board'] ?? '') : '', relocate),
    },
    shared_memories: topology.sharedMemories.map(({ name }) => ({
      name,
      ...without(isRawMap(memories[name]) ? memories[name] : {}, SAID_BY_BAO.sharedMemory),
    })),
    vms: topology.vms.map((vm): YamlValue => {
      const raw = vms[vm.name] ?? {};
      const ends = listAt(raw, 'remio_devs');
      const ipcs = listAt(raw, 'ipcs');
      return {
        image: names[vm.id] ?? '',
        name: vm.name,
        ...extras(raw, SAID_BY_BAO.vm, relocate),
        // What the configuration has is assumed.
        ...(vm.memory.length === 0 ? { memory: [] } : {}),
        ...(ends.length === 0
          ? {}
          : {
              remio_devs: vm.remioDevs.map((end) => ({
                bind_key: end.bindKey,
                ...extras(ends[end.dm], SAID_BY_BAO.end, relocate),
              })),
            }),
        ...(vm.ipcs.length === 0
          ? {}
          : { ipcs: vm.ipcs.map((ipc) => extras(ipcs[ipc.index], SAID_BY_BAO.ipc, relocate)) }),
      };
    }),
  };
  const head = [
    `Made by \`remio export bao\` from ${label}: what Bao's configuration cannot say of it.`,
    '`remio import bao config.c` reads it beside the configuration; VMs are found by their image, devices by bind key.',
  ];
  return yamlText(value, head.join('\n'));
}

const anything = z.record(z.string(), z.unknown());

const sidecarSchema = z.strictObject({
  format: z.literal(SIDECAR_FORMAT),
  topology: anything,
  shared_memories: z.array(z.looseObject({ name: z.string() })),
  vms: z.array(
    z.looseObject({
      image: z.string(),
      name: z.string(),
      remio_devs: z.array(z.looseObject({ bind_key: z.bigint() })).optional(),
      ipcs: z.array(anything).optional(),
    }),
  ),
});

/** A sidecar that was read. */
export interface Sidecar {
  readonly topology: RawMap;
  readonly sharedMemories: readonly SidecarEntry[];
  readonly vms: readonly (SidecarEntry & {
    readonly image: string;
    readonly remioDevs: readonly { readonly bindKey: bigint; readonly fields: RawMap }[];
    /** By position. */
    readonly ipcs: readonly RawMap[];
  })[];
}

interface SidecarEntry {
  readonly name: string;
  /** What else it says. */
  readonly fields: RawMap;
}

/** Most bytes of a sidecar: that of a thousand VMs has 300 KiB. */
const SIDECAR_MAX = 4 * 1024 * 1024;

/** Reads a sidecar; what is wrong with it, otherwise. */
export function readSidecar(text: string): { readonly sidecar: Sidecar } | { readonly problem: string } {
  if (text.length > SIDECAR_MAX) return { problem: `it has more than ${SIDECAR_MAX} bytes` };
  const document = parseDocument(text, { intAsBigInt: true, prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) return { problem: `not YAML: ${error.message}` };
  let raw: unknown;
  try {
    // Aliases that multiply are refused by the library.
    raw = document.toJS({ maxAliasCount: 100 });
  } catch (failure) {
    return { problem: failure instanceof Error ? failure.message : String(failure) };
  }
  const parsed = sidecarSchema.safeParse(raw);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return { problem: `no sidecar of \`remio export bao\`: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}` };
  }
  const { topology, shared_memories, vms } = parsed.data;
  return {
    sidecar: {
      topology: topology as RawMap,
      sharedMemories: shared_memories.map(({ name, ...fields }) => ({ name, fields: fields as RawMap })),
      vms: vms.map(({ image, name, remio_devs, ipcs, ...fields }) => ({
        image,
        name,
        fields: fields as RawMap,
        ipcs: (ipcs ?? []) as readonly RawMap[],
        remioDevs: (remio_devs ?? []).map(({ bind_key, ...rest }) => ({ bindKey: bind_key, fields: rest as RawMap })),
      })),
    },
  };
}
