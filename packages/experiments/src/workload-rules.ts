/** What a workload's operations are. */
export const WORKLOAD_TYPES = ['mmio', 'block', 'network', 'console', 'replay'] as const;
export type WorkloadType = (typeof WORKLOAD_TYPES)[number];
export type Family = 'block' | 'net' | 'console';

/** Device that a workload is made on; of a described platform, for what is recorded is so with a topology. */
export const FAMILY: Readonly<Record<WorkloadType, Family>> = {
  replay: 'block',
  mmio: 'block',
  block: 'block',
  network: 'net',
  console: 'console',
};

/** Bytes of one operation, by type: what it is if nobody says, and what it may be. */
const SIZES: Readonly<
  Record<WorkloadType, { readonly usual: number; readonly least: number; readonly most: number; readonly unit: number }>
> = {
  replay: { usual: 4, least: 1, most: 1 << 20, unit: 1 },
  mmio: { usual: 4, least: 1, most: 1 << 20, unit: 1 },
  block: { usual: 4096, least: 512, most: 1 << 20, unit: 512 },
  // An Ethernet frame with its header, without a frame check sequence.
  network: { usual: 256, least: 60, most: 1514, unit: 1 },
  console: { usual: 64, least: 1, most: 4096, unit: 1 },
};

/** Whose other end is there in virtual time only, and which one vCPU drives. */
export const ECHOED: readonly WorkloadType[] = ['network', 'console'];

/** What decides how much a workload needs. */
interface Sized {
  readonly type: WorkloadType;
  readonly size?: number | undefined;
  readonly rate: number;
  readonly burst: number;
}

/** Bytes of one operation of a workload. */
export const sizeOf = ({ type, size }: Pick<Sized, 'type' | 'size'>): number => size ?? SIZES[type].usual;

/** What of a workload does not go together. */
export function checkWorkload(work: Sized): readonly { readonly field: string; readonly message: string }[] {
  const { least, most, unit } = SIZES[work.type];
  const size = sizeOf(work);
  const found: { readonly field: string; readonly message: string }[] = [];
  if (size < least || size > most || size % unit !== 0) {
    const message = {
      replay: 'a recording says itself how much it accesses: leave it out',
      mmio: 'expected 1 byte to 1MiB; a register read does not heed it',
      block: 'expected 512 bytes to 1MiB, in sectors',
      network: 'expected a frame of 60 to 1514 bytes: its header, and what an MTU of 1500 lets through',
      console: 'expected 1 byte to 4KiB',
    }[work.type];
    found.push({ field: 'size', message });
  }
  if (work.burst > 1 && work.rate === 0) {
    const message = 'operations come in bursts only at a rate; set `rate`, or a larger `depth` for a closed loop';
    found.push({ field: 'burst', message });
  }
  return found;
}
