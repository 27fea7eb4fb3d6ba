import type {
  BaoConfig,
  BaoDev,
  BaoIpc,
  BaoIrqc,
  BaoRegion,
  BaoRemioDev,
  BaoShmem,
  BaoShmemRef,
  BaoVm,
} from './bao-config.js';
import type { CParser } from './c-parser.js';
import { type CSource, readSource } from './c-source.js';
import { Struct } from './c-struct.js';
import { CEvaluator, type CValue } from './c-value.js';
import { ImportFailure, type ImportNote } from './problems.js';

/** A file that was given to an import. */
export interface InputFile {
  /** As messages name it. */
  readonly file: string;
  readonly text: string;
}

type Note = (note: ImportNote) => void;

/** A configuration that was read, and the names of its images' paths. */
export interface ReadConfig {
  readonly config: BaoConfig;
  readonly sources: readonly CSource[];
}

/** Name of the variable that Bao looks for. */
const CONFIG = 'config';

/**
 * Reads a configuration of Bao from its C.
 * @param files those that make it up: one has `struct config config`, others what it names
 * @throws ImportFailure where they are none
 */
export function readConfig(parser: CParser, files: readonly InputFile[], note: Note): ReadConfig {
  if (!files.some(({ text }) => /\bstruct\s+config\s+config\b/.test(text))) {
    const file = files[0]?.file ?? '';
    const message = 'this is no configuration of Bao: there is no `struct config config = { … }` in it';
    throw new ImportFailure({ file, place: undefined, message });
  }
  const sources = files.map(({ file, text }) => readSource(parser, file, text));
  const value = new CEvaluator(parser, sources).variable(CONFIG);
  if (value === undefined) {
    const message = 'there is no `struct config config = { … };` that can be read';
    throw new ImportFailure({ file: files[0]?.file ?? '', place: undefined, message });
  }
  for (const { file, undefinedNames, includes } of sources) {
    for (const [name, place] of undefinedNames) {
      note({ kind: 'assumed', file, place, message: `${name} is not defined` });
    }
    const message = (path: string): string =>
      `${path} is not read; name it among the files if the configuration needs it`;
    for (const path of includes) note({ kind: 'assumed', file, place: undefined, message: message(path) });
  }
  return { config: configOf(value, note), sources };
}

function configOf(value: CValue, note: Note): BaoConfig {
  const struct = new Struct('config', value, note);
  const shmemlist = struct.structs('shmemlist', 'shmemlist_size', 'shmem').map(shmemOf);
  const vmlist = struct.structs('vmlist', 'vmlist_size', 'vm_config').map(vmOf);
  struct.done('the configuration');
  return { shmemlist, vmlist };
}

/** Where memory is placed, if it is. */
function placement(struct: Struct): { readonly phys?: bigint } {
  const placed = struct.u64('place_phys') !== 0n;
  // In struct shmem, base and phys are one.
  const phys = struct.has('phys') ? struct.u64('phys') : 0n;
  return placed ? { phys } : {};
}

function shmemOf(struct: Struct, id: number): BaoShmem {
  const size = struct.u64('size');
  if (struct.has('base') && !struct.has('phys')) {
    const base = struct.u64('base');
    const placed = struct.u64('place_phys') !== 0n;
    struct.done(`shared memory ${id}`);
    return { size, ...(placed ? { phys: base } : {}), at: struct.at };
  }
  const placed = placement(struct);
  struct.done(`shared memory ${id}`);
  return { size, ...placed, at: struct.at };
}

function vmOf(struct: Struct, id: number): BaoVm {
  const what = `VM ${id}`;
  const image = struct.struct('image', 'image');
  const load = image?.take('load_addr');
  const size = image?.take('size');
  const imageBase = image?.u64('base_addr') ?? 0n;
  const loaded = image !== undefined && image.u64('separately_loaded') !== 0n;
  if (image !== undefined && (loaded || (load?.kind === 'integer' && load.value !== 0n))) {
    image.note('lost', `the image of ${what} is loaded by somebody else, which a topology does not say`);
  } else if (size?.kind === 'integer' && size.value !== 0n) {
    image?.note('lost', `the size of the image of ${what} has no place in a topology`);
  }
  image?.done(`the image of ${what}`);
  const entry = struct.u64('entry');
  const affinity = struct.wide('cpu_affinity');
  const platform = struct.struct('platform', 'vm_platform');
  struct.done(what);
  const at = struct.at;
  const name = load?.kind === 'image' ? load.name : size?.kind === 'image' ? size.name : undefined;
  const common = { image: name, imageBase, entry, affinity, at };
  if (platform === undefined) {
    struct.note('wrong', `${what} has no platform: no CPU and no memory`);
    return { ...common, cpuNum: 0, regions: [], devs: [], ipcs: [], remioDevs: [], irqc: undefined };
  }
  const cpuNum = platform.small('cpu_num');
  const regions = platform.structs('regions', 'region_num', 'vm_mem_region').map((region, n): BaoRegion => {
    const read = { base: region.u64('base'), size: region.u64('size'), ...placement(region), at: region.at };
    region.done(`memory region ${n} of ${what}`);
    return read;
  });
  const devs = platform.structs('devs', 'dev_num', 'vm_dev_region').map((dev, n): BaoDev => {
    const [pa, va, length] = [dev.u64('pa'), dev.u64('va'), dev.u64('size')];
    const read = { pa, va, size: length, interrupts: dev.interrupts(), at: dev.at };
    dev.done(`device ${n} of ${what}`);
    return read;
  });
  const ipcs = platform.structs('ipcs', 'ipc_num', 'ipc').map((ipc, n): BaoIpc => {
    const read = { ...shmemRef(ipc), interrupts: ipc.interrupts() };
    ipc.done(`IPC object ${n} of ${what}`);
    return read;
  });
  const remioDevs = platform
    .structs('remio_devs', 'remio_dev_num', 'remio_dev')
    .map((dev, n) => remioDevOf(dev, `remio device ${n} of ${what}`));
  const irqc = irqcOf(platform.struct('arch', 'arch'), what);
  platform.done(what);
  return { ...common, cpuNum, regions, devs, ipcs, remioDevs, irqc };
}

const shmemRef = (struct: Struct): BaoShmemRef => ({
  base: struct.u64('base'),
  size: struct.u64('size'),
  id: struct.u64('shmem_id'),
  at: struct.at,
});

function remioDevOf(struct: Struct, what: string): BaoRemioDev {
  if (struct.has('id') && !struct.has('bind_key')) {
    struct.note('assumed', `.id of ${what} is what is called .bind_key now`);
  }
  const bindKey = struct.has('bind_key') ? struct.u64('bind_key') : struct.u64('id');
  const type = struct.u64('type');
  if (type > 1n) {
    throw new ImportFailure({ ...struct.at, message: `${what} has type ${type}: 0 is a frontend, 1 a backend` });
  }
  const shmem = struct.struct('shmem', 'remio_shmem');
  if (shmem === undefined) throw new ImportFailure({ ...struct.at, message: `${what} has no .shmem` });
  const read: BaoRemioDev = {
    type: type === 0n ? 'frontend' : 'backend',
    va: struct.u64('va'),
    size: struct.u64('size'),
    interrupt: struct.small('interrupt'),
    bindKey,
    shmem: shmemRef(shmem),
    at: struct.at,
  };
  shmem.done(`the shared memory of ${what}`);
  struct.done(what);
  return read;
}

function irqcOf(arch: Struct | undefined, what: string): BaoIrqc | undefined {
  if (arch === undefined) return undefined;
  const read = controllerOf(arch, what);
  arch.done(what);
  return read;
}

function controllerOf(arch: Struct, what: string): BaoIrqc | undefined {
  const gic = arch.struct('gic', 'gic');
  if (gic !== undefined) {
    const [gicd, gicc, gicr] = [gic.u64('gicd_addr'), gic.u64('gicc_addr'), gic.u64('gicr_addr')];
    gic.take('interrupt_num');
    gic.done(`the GIC of ${what}`);
    return { kind: 'gic', gicd, gicc, gicr };
  }
  const irqc = arch.struct('irqc', 'irqc');
  if (irqc === undefined) return undefined;
  const plic = irqc.struct('plic', 'plic');
  const aia = irqc.struct('aia', 'aia');
  irqc.done(`the interrupt controller of ${what}`);
  if (plic !== undefined) {
    const base = plic.u64('base');
    plic.done(`the PLIC of ${what}`);
    return { kind: 'plic', base };
  }
  if (aia === undefined) return undefined;
  const aplic = aia.struct('aplic', 'aplic')?.u64('base') ?? 0n;
  const imsic = aia.struct('imsic', 'imsic')?.u64('base') ?? 0n;
  aia.done(`the AIA of ${what}`);
  return { kind: 'aia', aplic, imsic };
}
