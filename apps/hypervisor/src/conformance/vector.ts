import { bindKey, cpuId, err, irqId, ok, type Result } from '@remio/base';
import { z } from 'zod';
import type { RemioConfig } from '../remio/index.js';

/** A 64-bit number as the vectors write it. */
const u64 = z
  .string()
  .regex(/^0x(0|[1-9a-f][0-9a-f]{0,15})$/, 'a 64-bit number as "0x…", lower case, no leading zeros')
  .transform((text) => BigInt(text));

const index = z.int().min(0);

const end = z.object({
  type: z.union([z.literal('frontend'), z.literal('backend'), z.int()]),
  key: u64,
  va: u64,
  size: u64,
  irq: index,
  shmem: z.object({ base: u64, size: u64, id: index }),
  deadline: z.number().positive().optional(),
});

const event = z.object({ level: z.enum(['fatal', 'warning']), cpu: index, code: z.string() });

const message = z.union([
  z.object({ to: index, kind: z.literal('notify'), irq: index }),
  z.object({ to: index, kind: z.enum(['read-done', 'write-done']), key: index, id: index }),
]);

const common = {
  sent: z.array(message),
  irqs: z.array(z.tuple([index, index])),
  regs: z.record(z.string(), z.string()),
  active: z.array(z.int().min(0).max(1)),
  events: z.array(event),
};

const accessResult = z.enum(['paused', 'waiting', 'unclaimed', 'refused']);

const step = z.discriminatedUnion('do', [
  z.object({
    do: z.literal('start'),
    cpu: index,
    expect: z.object({ ...common, resumed: z.array(z.tuple([index, accessResult])) }),
  }),
  z.object({
    do: z.literal('mmio'),
    cpu: index,
    addr: u64,
    width: z.int(),
    dir: z.enum(['r', 'w']),
    reg: index,
    value: u64.optional(),
    expect: z.object({ ...common, result: accessResult }),
  }),
  z.object({
    do: z.literal('hvc'),
    cpu: index,
    nr: u64,
    dm: u64,
    addr: u64,
    op: u64,
    value: u64,
    id: u64,
    expect: z.object({ ...common, ret: z.int(), out: z.array(z.string()).length(6) }),
  }),
  z.object({
    do: z.literal('deliver'),
    cpu: index,
    max: index.optional(),
    expect: z.object({ ...common, handled: index }),
  }),
]);

const vector = z.object({
  format: z.literal('remio-vectors/1'),
  name: z.string(),
  class: z.enum(['valid', 'hostile', 'quirk', 'config', 'wait']),
  quirks: z.array(z.string()),
  description: z.string(),
  arch: z.enum(['aarch64', 'riscv64']),
  topology: z.object({
    cpus: index,
    slots: index,
    queue: index,
    vms: z.array(z.object({ cpus: z.array(index), devices: z.array(end) })),
  }),
  init: z.object({ events: z.array(event) }),
  steps: z.array(step),
  end: z.object({ cpus: z.array(z.unknown()), devices: z.array(z.unknown()), slots: z.array(z.unknown()) }).optional(),
});

/** A conformance vector (`remio-vectors/1`). */
export type Vector = z.infer<typeof vector>;
export type VectorStep = z.infer<typeof step>;
export type VectorEnd = NonNullable<Vector['end']>;

/**
 * Reads a vector.
 * @returns what is wrong with the text, with the place in it
 */
export function parseVector(text: string): Result<Vector, string> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return err(`not JSON: ${error instanceof Error ? error.message : String(error)}`);
  }
  const parsed = vector.safeParse(json);
  if (parsed.success) return ok(parsed.data);
  const [issue] = parsed.error.issues;
  return err(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not a vector'}`);
}

/** The machine of a vector, as the core takes it. */
export const configOf = ({ topology }: Vector): RemioConfig => ({
  cpus: topology.cpus,
  slots: topology.slots,
  queue: topology.queue,
  vms: topology.vms.map((vm) => ({
    cpus: vm.cpus.map(cpuId),
    devices: vm.devices.map(({ key, irq, deadline, ...rest }) => ({
      ...rest,
      bindKey: bindKey(key),
      interrupt: irqId(irq),
      ...(deadline === undefined ? {} : { deadline }),
    })),
  })),
});
