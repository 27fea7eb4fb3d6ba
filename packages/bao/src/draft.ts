import type { Raw, RawMap } from './topology-text.js';
import { Commented, Hex, Size, type YamlValue, yamlText } from './yaml-text.js';

/** A topology that is being made of something else: what is known of it, and what is said beside it. */
export interface Draft {
  /** Fields at the top, besides the shared memories and VMs. */
  readonly fields: RawMap;
  readonly sharedMemories: readonly DraftMemory[];
  readonly vms: readonly DraftVm[];
}

export interface DraftMemory {
  readonly name: string;
  readonly size: bigint;
  readonly phys?: bigint;
  readonly fields: RawMap;
}

export interface DraftVm {
  readonly name: string;
  /** So many CPUs, or these. */
  readonly cpus: number | readonly number[];
  readonly memory: readonly { readonly base: bigint; readonly size: bigint; readonly phys?: bigint }[];
  readonly remioDevs: readonly DraftEnd[];
  readonly ipcs: readonly DraftIpc[];
  readonly fields: RawMap;
  /** What was assumed of it. */
  readonly comments: readonly string[];
}

export interface DraftEnd {
  readonly type: 'frontend' | 'backend';
  readonly bindKey: bigint;
  readonly interrupt: number;
  readonly window?: { readonly base: bigint; readonly size: bigint };
  readonly shmem: { readonly memory: string; readonly base: bigint };
  /** Name, device, driver, deadline and what else there is. */
  readonly fields: RawMap;
  readonly comments: readonly string[];
}

export interface DraftIpc {
  readonly memory: string;
  readonly base: bigint;
  /** Bytes, where they are not the whole memory. */
  readonly size?: bigint;
  readonly interrupts: readonly number[];
  readonly fields: RawMap;
}

/** Bytes of a window that a topology need not say. */
const WINDOW_SIZE = 0x200n;

/** Writes a draft as a topology file. @param head what to say at its top */
export function draftText(draft: Draft, head: string): string {
  return yamlText(
    {
      ...draft.fields,
      ...(draft.sharedMemories.length === 0
        ? {}
        : {
            shared_memories: Object.fromEntries(
              draft.sharedMemories.map(({ name, size, phys, fields }) => [
                name,
                { size: new Size(size), ...placed(phys), ...fields },
              ]),
            ),
          }),
      vms: Object.fromEntries(draft.vms.map((vm) => [vm.name, commented(vmValue(vm), vm.comments)])),
    },
    head,
  );
}

const placed = (phys: bigint | undefined): { readonly [field: string]: YamlValue } =>
  phys === undefined ? {} : { phys: new Hex(phys) };

const commented = (value: YamlValue, comments: readonly string[]): YamlValue =>
  comments.length === 0 ? value : new Commented(value, comments.join('\n '));

function vmValue({ cpus, memory, remioDevs, ipcs, fields }: DraftVm): YamlValue {
  return {
    cpus: typeof cpus === 'number' ? BigInt(cpus) : cpus.map(BigInt),
    ...(memory.length === 0
      ? {}
      : {
          memory: memory.map(({ base, size, phys }) => ({
            base: new Hex(base),
            size: new Size(size),
            ...placed(phys),
          })),
        }),
    ...fields,
    ...(remioDevs.length === 0 ? {} : { remio_devs: remioDevs.map((end) => commented(endValue(end), end.comments)) }),
    ...(ipcs.length === 0 ? {} : { ipcs: ipcs.map(ipcValue) }),
  };
}

function endValue({ type, bindKey, interrupt, window, shmem, fields }: DraftEnd): YamlValue {
  const { name, ...rest } = fields as { readonly [field: string]: Raw };
  return {
    ...(name === undefined ? {} : { name }),
    type,
    bind_key: bindKey,
    ...(window === undefined
      ? {}
      : {
          window: {
            base: new Hex(window.base),
            ...(window.size === WINDOW_SIZE ? {} : { size: new Hex(window.size) }),
          },
        }),
    interrupt: BigInt(interrupt),
    shmem: { memory: shmem.memory, base: new Hex(shmem.base) },
    ...rest,
  };
}

const ipcValue = ({ memory, base, size, interrupts, fields }: DraftIpc): YamlValue => ({
  memory,
  base: new Hex(base),
  ...(size === undefined ? {} : { size: new Size(size) }),
  interrupts: interrupts.map(BigInt),
  ...fields,
});
