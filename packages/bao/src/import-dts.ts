import { err, hex, ok, type Result } from '@remio/base';
import { type Draft, type DraftEnd, type DraftMemory, type DraftVm, draftText } from './draft.js';
import type { DtEnd, DtFrontend, DtGuest, DtIpc } from './dt-guest.js';
import { readGuest } from './dt-guest.js';
import { guessBoard, withController } from './guess-board.js';
import type { Imported } from './import-bao.js';
import { type ImportError, ImportFailure, type ImportNote } from './problems.js';
import { isDtb, readDtb } from './read-dtb.js';
import { type DtsOptions, readDts } from './read-dts.js';

export interface ImportDtsOptions extends DtsOptions {
  /** The device tree of each VM: sources or blobs. */
  readonly files: readonly { readonly file: string; readonly bytes: Uint8Array }[];
  /** The board; else what the trees look like. */
  readonly board?: string;
}

/** Reads the device trees of VMs, and writes a topology. */
export function importDts(options: ImportDtsOptions): Result<Imported, ImportError> {
  try {
    return ok(new DtsImport(options).read());
  } catch (failure) {
    if (failure instanceof ImportFailure) return err(failure.reason);
    throw failure;
  }
}

interface NamedGuest extends DtGuest {
  readonly name: string;
  readonly file: string;
}

/** A device: one end in a tree, or both. */
interface Pair {
  readonly key: bigint;
  readonly memory: string;
  readonly shmem: { readonly base: bigint; readonly size: bigint };
}

/** What is assumed of an end whose tree was not given. */
const WINDOW_FIRST = 0xa00_3e00n;
const WINDOW_SIZE = 0x200n;
const FRONTEND_INTERRUPT = 79;
const BACKEND_INTERRUPT = { arm: 40, riscv: 36 };

class DtsImport {
  readonly #options: ImportDtsOptions;
  readonly #notes: ImportNote[] = [];
  readonly #memories: DraftMemory[] = [];
  readonly #pairs = new Map<DtEnd, Pair>();
  #nextKey = 0n;

  constructor(options: ImportDtsOptions) {
    this.#options = options;
  }

  read(): Imported {
    const guests = this.#guests();
    if (guests.every(({ frontends, backends, ipcs }) => frontends.length + backends.length + ipcs.length === 0)) {
      const message =
        'nothing here is Remote I/O: no virtio,mmio with a restricted-dma-pool, no bao,io-dispatcher, no bao,ipcshmem';
      throw new ImportFailure({ file: guests[0]?.file ?? '', place: undefined, message });
    }
    const irqcs = guests.flatMap(({ irqc }) => (irqc === undefined ? [] : [irqc]));
    const { board } = this.#options;
    const guess =
      board === undefined
        ? guessBoard(
            irqcs,
            guests.map(({ file }) => file),
          )
        : { board: withController(board, irqcs), reason: '' };
    if (guess === undefined) {
      const message = 'the trees do not say which board they are for, and look like none; name it: --board NAME';
      throw new ImportFailure({ file: guests[0]?.file ?? '', place: undefined, message });
    }
    const named =
      typeof guess.board === 'string' ? guess.board : String((guess.board as { readonly name?: unknown }).name);
    if (guess.reason !== '') this.#note('assumed', guests[0]?.file ?? '', `the board is ${named}, ${guess.reason}`);
    const isRiscv = irqcs.some(({ kind }) => kind !== 'gic');

    const lonely = this.#pair(guests);
    const vms = guests.map((guest): DraftVm => this.#vm(guest));
    vms.push(...this.#assumed(lonely, isRiscv));
    const draft: Draft = { fields: { board: guess.board }, sharedMemories: this.#memories, vms };
    const names = guests.map(({ file }) => file.replace(/^.*[/\\]/, '')).join(', ');
    const head = [
      `Read by \`remio import dts\` from ${names}.`,
      'A device tree has no bind keys, and no devices: the import says on standard error what it assumed.',
    ];
    return { text: draftText(draft, head.join('\n')), notes: this.#notes };
  }

  #guests(): readonly NamedGuest[] {
    const taken = new Set<string>();
    return this.#options.files.map(({ file, bytes }) => {
      const tree = isDtb(bytes) ? readDtb(bytes, file) : readDts(sourceText(bytes, file), file, this.#options);
      const guest = readGuest(tree);
      for (const { name, at } of guest.others) {
        this.#notes.push({
          kind: 'lost',
          ...at,
          message: `${name} is a device of the VM's own, which a topology has no place for`,
        });
      }
      const plain = file.replace(/^.*[/\\]/, '').replace(/\.[a-z]+$/, '');
      const safe = /^[A-Za-z][A-Za-z0-9_-]*$/.test(plain) ? plain : 'vm';
      let name = safe;
      for (let n = 2; taken.has(name); n += 1) name = `${safe}${n}`;
      taken.add(name);
      return { ...guest, name, file };
    });
  }

  #note(kind: ImportNote['kind'], file: string, message: string): void {
    this.#notes.push({ kind, file, place: undefined, message });
  }

  /** Finds the ends that have the same shared memory. @returns those that have no other end */
  #pair(guests: readonly NamedGuest[]): {
    readonly frontends: readonly DtFrontend[];
    readonly backends: readonly DtEnd[];
  } {
    const waiting = guests.flatMap(({ frontends }) => frontends);
    const taken = new Set<DtFrontend>();
    const backends: DtEnd[] = [];
    for (const guest of guests) {
      for (const end of guest.backends) {
        const pair = this.#newPair(end);
        this.#pairs.set(end, pair);
        const own = new Set(guest.frontends);
        const fitting = waiting.filter(
          (other) => !taken.has(other) && !own.has(other) && other.shmem.base === end.shmem.base,
        );
        const [frontend] = fitting;
        if (frontend === undefined) {
          backends.push(end);
          continue;
        }
        if (fitting.length > 1) {
          this.#notes.push({
            kind: 'assumed',
            ...end.at,
            message: `${fitting.length} frontends have a shared memory at ${hex(end.shmem.base)}; this backend is taken for the first one's`,
          });
        }
        if (frontend.shmem.size !== end.shmem.size) {
          const message = `the ends of the device at ${hex(end.shmem.base)} have ${hex(end.shmem.size)} and ${hex(frontend.shmem.size)} bytes of shared memory: Bao would not start`;
          this.#notes.push({ kind: 'wrong', ...end.at, message });
        }
        taken.add(frontend);
        this.#pairs.set(frontend, pair);
      }
    }
    const frontends = waiting.filter((end) => !taken.has(end));
    for (const end of frontends) this.#pairs.set(end, this.#newPair(end));
    return { frontends, backends };
  }

  #newPair({ shmem }: DtEnd): Pair {
    const key = this.#nextKey;
    this.#nextKey += 1n;
    const memory = `memory${key}`;
    this.#memories.push({ name: memory, size: shmem.size, fields: {} });
    return { key, memory, shmem };
  }

  #vm({ name, file, cpus, memory, frontends, backends, ipcs }: NamedGuest): DraftVm {
    if (cpus === 0) this.#note('assumed', file, 'the tree has no CPUs; the VM gets one');
    return {
      name,
      cpus: Math.max(1, cpus),
      memory,
      remioDevs: [
        ...backends.map((end) => this.#backend(end, end.interrupt, [])),
        ...frontends.map((end) => this.#frontend(end, end, [])),
      ],
      ipcs: ipcs.map((ipc) => this.#ipc(ipc)),
      fields: {},
      comments: [],
    };
  }

  #end(end: DtEnd, type: DraftEnd['type'], interrupt: number): Omit<DraftEnd, 'fields' | 'comments'> {
    const pair = this.#pairs.get(end);
    if (pair === undefined) throw new ImportFailure({ ...end.at, message: 'a device without a shared memory' });
    return { type, bindKey: pair.key, interrupt, shmem: { memory: pair.memory, base: end.shmem.base } };
  }

  #backend(end: DtEnd, interrupt: number, comments: readonly string[]): DraftEnd {
    return {
      ...this.#end(end, 'backend', interrupt),
      fields: { device: { type: 'entropy' } },
      comments: [...comments, 'assumed: the bind key, and an entropy device; a tree does not say what it is'],
    };
  }

  #frontend(
    end: DtEnd,
    { window, interrupt }: Pick<DtFrontend, 'window' | 'interrupt'>,
    comments: readonly string[],
  ): DraftEnd {
    return {
      ...this.#end(end, 'frontend', interrupt),
      window,
      fields: { driver: { type: 'probe' } },
      comments: [...comments, 'assumed: the bind key, and a driver that reads what the device says of itself'],
    };
  }

  /** IPC objects of the same size and address are taken to share one memory. */
  #ipc({ shmem, interrupts, at }: DtIpc): DraftVm['ipcs'][number] {
    const name = `ipc-${shmem.base.toString(16)}`;
    const known = this.#memories.find((memory) => memory.name === name);
    if (known === undefined) {
      this.#memories.push({ name, size: shmem.size, fields: {} });
      this.#notes.push({
        kind: 'assumed',
        ...at,
        message: `VMs with an IPC object at ${hex(shmem.base)} share its memory`,
      });
    }
    return {
      memory: name,
      base: shmem.base,
      ...(known !== undefined && known.size !== shmem.size ? { size: shmem.size } : {}),
      interrupts,
      fields: {},
    };
  }

  /** VMs for the ends whose trees were not given. */
  #assumed(
    { frontends, backends }: { readonly frontends: readonly DtFrontend[]; readonly backends: readonly DtEnd[] },
    isRiscv: boolean,
  ): readonly DraftVm[] {
    const vm = (name: string, remioDevs: readonly DraftEnd[]): DraftVm => ({
      name,
      cpus: 1,
      memory: [],
      remioDevs,
      ipcs: [],
      fields: {},
      comments: ['assumed: the VM at the other end, whose tree was not given'],
    });
    const file = this.#options.files[0]?.file ?? '';
    const vms: DraftVm[] = [];
    if (frontends.length > 0) {
      this.#note('assumed', file, 'a VM `assumed-backend` serves the devices whose backend is in none of these trees');
      const first = isRiscv ? BACKEND_INTERRUPT.riscv : BACKEND_INTERRUPT.arm;
      vms.push(
        vm(
          'assumed-backend',
          frontends.map((end, n) => this.#backend(end, first + n, [])),
        ),
      );
    }
    if (backends.length > 0) {
      this.#note('assumed', file, 'a VM `assumed-frontend` has the devices whose frontend is in none of these trees');
      const assumed = (n: number): Pick<DtFrontend, 'window' | 'interrupt'> => ({
        window: { base: WINDOW_FIRST - BigInt(n) * WINDOW_SIZE, size: WINDOW_SIZE },
        interrupt: FRONTEND_INTERRUPT - n,
      });
      vms.push(
        vm(
          'assumed-frontend',
          backends.map((end, n) => this.#frontend(end, assumed(n), [])),
        ),
      );
    }
    return vms;
  }
}

function sourceText(bytes: Uint8Array, file: string): string {
  const text = new TextDecoder().decode(bytes);
  if (text.includes('\0') || text.includes('\ufffd')) {
    throw new ImportFailure({ file, place: undefined, message: 'this is no device tree: neither a source nor a blob' });
  }
  return text;
}
