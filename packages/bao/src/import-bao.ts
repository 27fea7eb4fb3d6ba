import { GIC_FIRST_SPI } from '@remio/arch';
import { err, hex, ok, type Result } from '@remio/base';
import type { BaoConfig, BaoIpc, BaoRemioDev, BaoShmem, BaoVm } from './bao-config.js';
import type { CParser } from './c-parser.js';
import { type Draft, type DraftEnd, type DraftIpc, type DraftVm, draftText } from './draft.js';
import { guessBoard, isOf, withController } from './guess-board.js';
import { type ImportError, ImportFailure, type ImportNote } from './problems.js';
import { type InputFile, type ReadConfig, readConfig } from './read-config.js';
import { type ImportedDevice, readDeviceModel } from './read-device-model.js';
import { type Relocate, readSidecar, relocated, relocatedBoard, type Sidecar } from './sidecar.js';
import type { RawMap } from './topology-text.js';

/** A topology that was made of something else, and what is to be known of it. */
export interface Imported {
  /** The topology file. */
  readonly text: string;
  readonly notes: readonly ImportNote[];
}

export interface ImportBaoOptions {
  /** The C that makes up the configuration. */
  readonly files: readonly InputFile[];
  /** What an export wrote beside it. */
  readonly sidecar?: InputFile;
  /** Configurations of bao-virtio-dm. */
  readonly deviceModels?: readonly InputFile[];
  /** The board; else the sidecar's, else what the configuration looks like. */
  readonly board?: string;
  /** Makes a path that counts from the sidecar count from where the topology is written. */
  readonly relocate: Relocate;
}

/** Reads a configuration of Bao, and writes a topology. */
export function importBao(parser: CParser, options: ImportBaoOptions): Result<Imported, ImportError> {
  try {
    return ok(new BaoImport(options).read(parser));
  } catch (failure) {
    if (failure instanceof ImportFailure) return err(failure.reason);
    throw failure;
  }
}

class BaoImport {
  readonly #options: ImportBaoOptions;
  readonly #notes: ImportNote[] = [];

  constructor(options: ImportBaoOptions) {
    this.#options = options;
  }

  read(parser: CParser): Imported {
    const { files } = this.#options;
    const note = (said: ImportNote): void => {
      this.#notes.push(said);
    };
    const read = readConfig(parser, files, note);
    const sidecar = this.#sidecar();
    const devices = (this.#options.deviceModels ?? []).flatMap((file) => readDeviceModel(file, note));
    const draft = this.#draft(read, sidecar, devices);
    const names = files.map(({ file }) => file.replace(/^.*[/\\]/, '')).join(', ');
    const head = [`Read by \`remio import bao\` from ${names}.`];
    if (this.#notes.length > 0)
      head.push('The import says on standard error what it assumed, and what it could not carry.');
    return { text: draftText(draft, head.join('\n')), notes: this.#notes };
  }

  #sidecar(): Sidecar | undefined {
    const { sidecar } = this.#options;
    if (sidecar === undefined) return undefined;
    const read = readSidecar(sidecar.text);
    if ('problem' in read) throw new ImportFailure({ file: sidecar.file, place: undefined, message: read.problem });
    return read.sidecar;
  }

  #draft({ config }: ReadConfig, sidecar: Sidecar | undefined, devices: readonly ImportedDevice[]): Draft {
    const memoryNames = memoryNamesOf(config.shmemlist, sidecar);
    const cpus = this.#cpus(config);
    const names = vmNames(config, sidecar);
    const board = this.#board(config, sidecar);
    const used = new Set<string>();
    const vms = config.vmlist.map((vm, id): DraftVm => {
      const own = sidecar?.vms.find((candidate) => candidate.image === vm.image);
      if (own !== undefined) used.add(own.image);
      return this.#vm(vm, names[id] ?? '', cpus[id] ?? 0, config, memoryNames, devices, own);
    });
    for (const vm of sidecar?.vms ?? []) {
      if (!used.has(vm.image)) {
        this.#note(
          'lost',
          `the sidecar has a VM ${vm.name}, with the image ${vm.image}, which the configuration has not`,
        );
      }
    }
    return {
      fields: {
        ...board,
        ...(sidecar === undefined
          ? {}
          : (relocated(without(sidecar.topology, 'board'), this.#options.relocate) as RawMap)),
      },
      sharedMemories: config.shmemlist.map(({ size, phys }, id) => ({
        name: memoryNames[id] ?? '',
        size,
        ...(phys === undefined ? {} : { phys }),
        fields: sidecar?.sharedMemories[id]?.fields ?? {},
      })),
      vms,
    };
  }

  #note(
    kind: ImportNote['kind'],
    message: string,
    at?: { readonly file: string; readonly place: ImportNote['place'] },
  ): void {
    const file = this.#options.files[0]?.file ?? '';
    this.#notes.push({ kind, file: at?.file ?? file, place: at?.place, message });
  }

  #board(config: BaoConfig, sidecar: Sidecar | undefined): RawMap {
    const { board, files } = this.#options;
    const irqcs = config.vmlist.flatMap(({ irqc }) => (irqc === undefined ? [] : [irqc]));
    const own = sidecar?.topology['board'];
    if (board === undefined && own !== undefined) return { board: relocatedBoard(own, this.#options.relocate) };
    const guess =
      board === undefined
        ? guessBoard(
            irqcs,
            files.map(({ file }) => file),
          )
        : undefined;
    if (board === undefined && guess === undefined) {
      const message =
        'a configuration does not say which board it is for, and this one looks like none; name it: --board NAME';
      throw new ImportFailure({ file: files[0]?.file ?? '', place: undefined, message });
    }
    const chosen = board === undefined ? (guess?.board ?? '') : withController(board, irqcs);
    if (guess !== undefined) this.#note('assumed', `the board is ${boardName(chosen)}, ${guess.reason}`);
    config.vmlist.forEach((vm, id) => {
      if (vm.irqc === undefined || isOf(vm.irqc, boardName(chosen))) return;
      this.#note(
        'lost',
        `VM ${id} sees its interrupt controller where ${boardName(chosen)} has none; here it is the board's`,
        vm.at,
      );
    });
    return { board: chosen };
  }

  /** CPUs of each VM: those of its affinity first, then whichever are free, as Bao gives them. */
  #cpus(config: BaoConfig): readonly (number | readonly number[])[] {
    const taken = new Set<number>();
    const chosen = config.vmlist.map(({ affinity, cpuNum }) => {
      const wanted = bitsOf(affinity)
        .filter((cpu) => !taken.has(cpu))
        .slice(0, cpuNum);
      for (const cpu of wanted) taken.add(cpu);
      return wanted;
    });
    return config.vmlist.map(({ affinity, cpuNum, at }, id) => {
      const mine = [...(chosen[id] ?? [])];
      if (affinity === 0n) return cpuNum;
      const asked = bitsOf(affinity).length;
      if (asked > cpuNum) {
        this.#note('assumed', `VM ${id} prefers ${asked} CPUs and takes ${cpuNum}: the lowest that are free`, at);
      }
      if (mine.length < cpuNum) {
        this.#note(
          'assumed',
          `VM ${id} takes ${cpuNum} CPUs and prefers ${mine.length} that are free: the next free ones are added`,
          at,
        );
      }
      for (let cpu = 0; mine.length < cpuNum; cpu += 1) {
        if (taken.has(cpu)) continue;
        taken.add(cpu);
        mine.push(cpu);
      }
      return mine.sort((a, b) => a - b);
    });
  }

  #vm(
    vm: BaoVm,
    name: string,
    cpus: number | readonly number[],
    config: BaoConfig,
    memoryNames: readonly string[],
    devices: readonly ImportedDevice[],
    own: Sidecar['vms'][number] | undefined,
  ): DraftVm {
    this.#lostOfVm(vm, name);
    const hasNone = Array.isArray(own?.fields['memory']) && own.fields['memory'].length === 0;
    const comments: string[] = [];
    const remioDevs = vm.remioDevs.map((dev, dm): DraftEnd => {
      const said = own?.remioDevs.find(({ bindKey }) => bindKey === dev.bindKey);
      return this.#end(dev, dm, name, config, memoryNames, devices, said?.fields);
    });
    for (const { bindKey } of own?.remioDevs ?? []) {
      if (vm.remioDevs.some((dev) => dev.bindKey === bindKey)) continue;
      this.#note(
        'lost',
        `the sidecar has a device with bind key ${bindKey} of VM ${name}, which the configuration has not`,
      );
    }
    return {
      name,
      cpus,
      memory: (hasNone ? [] : vm.regions).map(({ base, size, phys }) => ({
        base,
        size,
        ...(phys === undefined ? {} : { phys }),
      })),
      remioDevs,
      ipcs: vm.ipcs.map((ipc, n) =>
        this.#ipc(ipc, `IPC object ${n} of VM ${name}`, config, memoryNames, own?.ipcs[n] ?? {}),
      ),
      fields: own === undefined ? {} : (relocated(without(own.fields, 'memory'), this.#options.relocate) as RawMap),
      comments,
    };
  }

  #lostOfVm(vm: BaoVm, name: string): void {
    const base = vm.regions[0]?.base;
    if (vm.image === undefined) this.#note('lost', `VM ${name} has an image without a name`, vm.at);
    if (base !== undefined && vm.imageBase !== base) {
      this.#note('lost', `the image of VM ${name} is at ${hex(vm.imageBase)}, not at the start of its memory`, vm.at);
    }
    if (vm.entry !== vm.imageBase) {
      this.#note('lost', `VM ${name} starts at ${hex(vm.entry)}, not at the start of its image`, vm.at);
    }
    for (const { pa, va, size, interrupts, at } of vm.devs) {
      // Every vCPU here has its timer: what private interrupts are given away for needs no word.
      const shared = interrupts.filter((interrupt) => vm.irqc?.kind !== 'gic' || interrupt >= GIC_FIRST_SPI);
      if (size === 0n && shared.length === 0) continue;
      const lines = shared.length === 0 ? '' : `, interrupt${shared.length > 1 ? 's' : ''} ${shared.join(', ')}`;
      const where = size === 0n ? 'interrupts alone' : `${hex(pa)} (${hex(size)} bytes) at ${hex(va)}`;
      this.#note('lost', `VM ${name} has a device of the board to itself: ${where}${lines}`, at);
    }
  }

  #end(
    dev: BaoRemioDev,
    dm: number,
    vm: string,
    config: BaoConfig,
    memoryNames: readonly string[],
    devices: readonly ImportedDevice[],
    said: RawMap | undefined,
  ): DraftEnd {
    const what = `remio device ${dm} of VM ${vm}`;
    const memory = this.#memory(dev.shmem, what, config, memoryNames);
    const comments: string[] = [];
    let fields: RawMap = said === undefined ? {} : (relocated(said, this.#options.relocate) as RawMap);
    if (said === undefined && dev.type === 'backend') {
      const window = windowOf(config, dev.bindKey);
      const known = devices.find((device) => device.dm === dm && device.window === window);
      if (known === undefined) {
        comments.push('assumed: an entropy device; Bao does not say what it is (docs/devices.md has what there is)');
        this.#note('assumed', `${what} is an entropy device: Bao does not say what it is`, dev.at);
      }
      comments.push(...(known?.comments ?? []));
      fields = { device: known?.device ?? { type: 'entropy' } };
    } else if (said === undefined) {
      comments.push('assumed: a driver that reads what the device says of itself');
      fields = { driver: { type: 'probe' } };
    }
    return {
      type: dev.type,
      bindKey: dev.bindKey,
      interrupt: dev.interrupt,
      ...(dev.type === 'frontend' ? { window: { base: dev.va, size: dev.size } } : {}),
      shmem: { memory, base: dev.shmem.base },
      fields,
      comments,
    };
  }

  #ipc(ipc: BaoIpc, what: string, config: BaoConfig, memoryNames: readonly string[], fields: RawMap): DraftIpc {
    const memory = memoryNames[Number(ipc.id)] ?? `memory${ipc.id}`;
    const whole = config.shmemlist[Number(ipc.id)]?.size;
    if (whole === undefined) this.#note('wrong', `${what} names shared memory ${ipc.id}, which there is not`, ipc.at);
    return {
      memory,
      base: ipc.base,
      ...(ipc.size === whole ? {} : { size: ipc.size }),
      interrupts: ipc.interrupts,
      fields,
    };
  }

  #memory(
    { id, size, at }: BaoRemioDev['shmem'],
    what: string,
    config: BaoConfig,
    memoryNames: readonly string[],
  ): string {
    const memory = config.shmemlist[Number(id)];
    if (memory === undefined) {
      this.#note('wrong', `${what} names shared memory ${id}, which there is not: Bao stops when it starts`, at);
      return `memory${id}`;
    }
    if (size > memory.size) {
      const message = `${what} maps ${hex(size)} bytes of a shared memory of ${hex(memory.size)}: Bao cuts it, and what lies beyond faults`;
      this.#note('wrong', message, at);
    } else if (size < memory.size) {
      this.#note(
        'lost',
        `${what} maps ${hex(size)} bytes of a shared memory of ${hex(memory.size)}; here it maps all`,
        at,
      );
    }
    return memoryNames[Number(id)] ?? '';
  }
}

const without = (map: RawMap, field: string): RawMap =>
  Object.fromEntries(Object.entries(map).filter(([name]) => name !== field));

const boardName = (board: RawMap[string]): string =>
  typeof board === 'string' ? board : String((board as RawMap)['name'] ?? '');

const windowOf = ({ vmlist }: BaoConfig, bindKey: bigint): bigint | undefined =>
  vmlist.flatMap(({ remioDevs }) => remioDevs).find((dev) => dev.type === 'frontend' && dev.bindKey === bindKey)?.va;

function bitsOf(mask: bigint): readonly number[] {
  const bits: number[] = [];
  for (let rest = mask, bit = 0; rest > 0n; rest >>= 1n, bit += 1) if ((rest & 1n) === 1n) bits.push(bit);
  return bits;
}

const memoryNamesOf = (memories: readonly BaoShmem[], sidecar: Sidecar | undefined): readonly string[] =>
  unique(memories.map((_, id) => sidecar?.sharedMemories[id]?.name ?? `memory${id}`));

/** The sidecar's, else those of the images without `_image`, else numbers. */
const vmNames = (config: BaoConfig, sidecar: Sidecar | undefined): readonly string[] =>
  unique(
    config.vmlist.map(({ image }, id) => {
      const said = sidecar?.vms.find((vm) => vm.image === image)?.name;
      const plain = image?.replace(/_image$/, '') ?? '';
      return said ?? (/^[A-Za-z][A-Za-z0-9_-]*$/.test(plain) ? plain : `vm${id}`);
    }),
  );

function unique(names: readonly string[]): readonly string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    let chosen = name;
    for (let n = 2; taken.has(chosen); n += 1) chosen = `${name}-${n}`;
    taken.add(chosen);
    return chosen;
  });
}
