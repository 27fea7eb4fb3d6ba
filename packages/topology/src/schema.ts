import { z } from 'zod';

const SIZE = /^(\d+)(KiB|MiB|GiB)$/;
const DURATION = /^(\d+)(ns|us|ms|s)$/;
const UNIT: Readonly<Record<string, bigint>> = {
  KiB: 1024n,
  MiB: 1024n ** 2n,
  GiB: 1024n ** 3n,
  ns: 1n,
  us: 1000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
};

/** YAML integers arrive as bigint, so that 64 bits are exact. */
const u64 = z
  .bigint({ error: 'expected an integer (decimal or 0x…)' })
  .refine((value) => value >= 0n && value < 1n << 64n, 'expected an integer from 0 to 2^64-1');

const scaled = (pattern: RegExp, what: string) =>
  z
    .string()
    .regex(pattern, what)
    .transform((text) => {
      const [, digits = '0', unit = ''] = pattern.exec(text) ?? [];
      return BigInt(digits) * (UNIT[unit] ?? 1n);
    });

const size = z.union([u64, scaled(SIZE, 'expected a size: bytes, or 64KiB, 16MiB, 1GiB')], {
  error: 'expected a size: bytes, or 64KiB, 16MiB, 1GiB',
});
const duration = scaled(DURATION, 'expected a duration: 500us, 20ms, 5s').describe('A duration: 500us, 20ms, 5s');

const count = u64.refine((value) => value < 1n << 31n, 'expected a small integer').transform(Number);

const name = z.string().regex(/^[A-Za-z][A-Za-z0-9_-]*$/, 'expected a name: letters, digits, - and _');

/** `options` are the program's own; integers become numbers where they are exact. */
const options = z.record(z.string(), z.unknown());

const program = z.union(
  [
    z.string().describe('A built-in program'),
    z.strictObject({ builtin: z.string(), options: options.optional() }),
    z.strictObject({
      module: z.string().describe('Path of an ES module, from this file'),
      options: options.optional(),
    }),
  ],
  { error: 'expected the name of a built-in program, { builtin: NAME, options } or { module: PATH, options }' },
);

const device = z.union(
  [
    z.strictObject({
      type: z.literal('block'),
      image: z.string().describe('Path of a raw disk image, from this file'),
      read_only: z.boolean().optional(),
      queues: count.optional().describe('Request queues, 1 to 64'),
      queue_size: count.optional().describe('QueueSizeMax, a power of two'),
      id: z.string().max(20).optional().describe('Identification string'),
    }),
    z.strictObject({ module: z.string(), options: options.optional() }),
  ],
  { error: 'expected { type: block, image: PATH, … } or { module: PATH, options }' },
);

const remioDev = z.strictObject({
  name: name.optional().describe('The device\u2019s name; the same at both ends'),
  type: z.enum(['frontend', 'backend']),
  bind_key: u64.describe('Pairs the two ends'),
  window: z
    .strictObject({ base: u64, size: size.optional() })
    .optional()
    .describe('Frontend: the registers\u2019 window'),
  interrupt: count.describe('Interrupt id in this VM'),
  shmem: z.strictObject({ memory: name, base: u64 }),
  deadline: duration.optional().describe('Frontend: after this time an unanswered access ends as a fault'),
  device: device.optional().describe('Backend: the device model'),
});

const vm = z.strictObject({
  cpus: z.union([count, z.array(count)], { error: 'expected a number of CPUs, or a list of them' }),
  memory: z.array(z.strictObject({ base: u64, size })).optional(),
  program,
  remio_devs: z.array(remioDev).optional(),
});

/** The topology language. */
export const topologySchema = z.strictObject({
  name: z.string().optional(),
  board: z.union(
    [
      z.string(),
      z.strictObject({ name: z.string(), cpus: count.optional(), irqc: z.enum(['aia', 'plic']).optional() }),
    ],
    { error: 'expected the name of a board, or { name, cpus, irqc }' },
  ),
  profile: z.enum(['reference', 'hardened']).optional(),
  shared_memories: z.record(name, z.strictObject({ size })).optional(),
  vms: z.record(name, vm),
});

export type TopologyFile = z.output<typeof topologySchema>;
export type VmFile = z.output<typeof vm>;
export type RemioDevFile = z.output<typeof remioDev>;
