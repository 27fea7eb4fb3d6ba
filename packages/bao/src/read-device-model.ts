import { parseDocument } from 'yaml';
import { z } from 'zod';
import { ImportFailure, type ImportNote } from './problems.js';
import type { InputFile } from './read-config.js';
import type { RawMap } from './topology-text.js';

const u32 = z.bigint().refine((value) => value >= 0n && value < 1n << 32n);
const u64 = z.bigint().refine((value) => value >= 0n && value < 1n << 64n);

const deviceSchema = z.looseObject({
  id: u32,
  type: z.string(),
  mmio_addr: u64,
  data_plane: z.string(),
  file_path: z.string().optional(),
  read_only: z.boolean().optional(),
  root_device: z.boolean().optional(),
  advertise_flush: z.boolean().optional(),
  tap_name: z.string().optional(),
  mac_addr: z.string().optional(),
  guest_cid: u64.optional(),
  socket_path: z.string().optional(),
  pty_alias: z.string().optional(),
});

const fileSchema = z.strictObject({ devices: z.array(deviceSchema).max(4096) });

type DeviceEntry = z.output<typeof deviceSchema>;

/** A device of Bao's device model, as a topology has it. */
export interface ImportedDevice {
  /** Position among the backend VM's ends. */
  readonly dm: number;
  readonly window: bigint;
  readonly device: RawMap;
  /** What was assumed of it. */
  readonly comments: readonly string[];
}

/**
 * Reads a configuration of bao-virtio-dm.
 * @throws ImportFailure where it is none
 */
export function readDeviceModel(
  { file, text }: InputFile,
  note: (note: ImportNote) => void,
): readonly ImportedDevice[] {
  const fail = (message: string): never => {
    throw new ImportFailure({ file, place: undefined, message });
  };
  const document = parseDocument(text, { intAsBigInt: true, prettyErrors: false });
  const [error] = document.errors;
  if (error !== undefined) fail(`not YAML: ${error.message}`);
  let raw: unknown;
  try {
    raw = document.toJS({ maxAliasCount: 100 });
  } catch (failure) {
    fail(failure instanceof Error ? failure.message : String(failure));
  }
  const parsed = fileSchema.safeParse(raw);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return fail(`no configuration of bao-virtio-dm: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}`);
  }
  return parsed.data.devices.map((entry) => {
    const tell = (kind: ImportNote['kind'], message: string): void =>
      note({ kind, file, place: undefined, message: `device ${entry.id}: ${message}` });
    const { device, comments } = deviceOf(entry, tell);
    return { dm: Number(entry.id), window: entry.mmio_addr, device, comments };
  });
}

type Tell = (kind: ImportNote['kind'], message: string) => void;

interface Described {
  readonly device: RawMap;
  readonly comments: readonly string[];
}

function deviceOf(entry: DeviceEntry, tell: Tell): Described {
  if (entry.root_device === true) tell('lost', 'root_device: guests here have no root file system');
  switch (entry.type) {
    case 'block':
      if (entry.advertise_flush === false)
        tell('lost', 'advertise_flush: false: block devices here always offer FLUSH');
      return {
        device: {
          type: 'block',
          image: entry.file_path ?? 'disk.img',
          ...(entry.read_only === true ? { read_only: true } : {}),
        },
        comments: [],
      };
    case 'net':
      return {
        device: {
          type: 'net',
          tap: entry.tap_name ?? 'tap0',
          ...(entry.mac_addr === undefined ? {} : { mac: entry.mac_addr }),
        },
        comments: [],
      };
    case 'console': {
      const path = entry.pty_alias ?? `console${entry.id}.pty`;
      return {
        device: { type: 'console', ports: [{ pty: path }] },
        comments: entry.pty_alias === undefined ? [`assumed: the pseudo-terminal is linked to ${path}`] : [],
      };
    }
    case 'vsock': {
      const uds = `vsock${entry.id}.sock`;
      tell('assumed', `programs of the host reach the guest through the socket ${uds}`);
      return {
        device: { type: 'vsock', cid: entry.guest_cid ?? 3n, uds },
        comments: [`assumed: programs of the host reach the guest through ${uds}`],
      };
    }
    case 'fs': {
      tell('assumed', 'it shares the directory `shared` under the tag `shared`: virtiofsd knows which it was');
      return {
        device: { type: 'fs', tag: 'shared', directory: 'shared' },
        comments: ['assumed: the tag and the directory, which virtiofsd knows'],
      };
    }
    default:
      tell('assumed', `there is no ${entry.type} device here; an entropy device stands for it`);
      return {
        device: { type: 'entropy' },
        comments: [`assumed: an entropy device for one of type ${entry.type.slice(0, 40)}`],
      };
  }
}
