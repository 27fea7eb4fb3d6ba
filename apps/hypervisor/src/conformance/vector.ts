import { bindKey, cpuId, err, hex, irqId, ok, type Result } from '@remio/base';
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

const ipc = z.object({ shmem: index, size: u64, irqs: z.array(index) });

const event = z.object({ level: z.enum(['fatal', 'warning']), cpu: index, code: z.string() });

const message = z.union([
  z.object({ to: index, kind: z.literal('notify'), irq: index }),
  z.object({ to: index, kind: z.enum(['read-done', 'write-done']), key: index, id: index }),
  // Ours: a doorbell.
  z.object({ to: index, kind: z.literal('ipc'), shmem: index, event: z.string() }),
]);

const common = {
  sent: z.array(message),
  irqs: z.array(z.tuple([index, index])),
  regs: z.record(z.string(), z.string()),
  active: z.array(z.int().min(0).max(1)),
  events: z.array(event),
  // Ours: accesses that ended as faults, and deviations that bit. Absent: none.
  faults: z.array(z.tuple([index, z.string()])).optional(),
  rules: z.array(z.tuple([index, z.string()])).optional(),
};

const accessResult = z.enum(['paused', 'waiting', 'unclaimed', 'refused']);

/** A time in nanoseconds. */
const time = z.number().min(0);

/** Inputs of ours, which the format lacks. */
const lost = z.object({ do: z.literal('vm-lost'), vm: index, incarnation: index });
const attached = z.object({ do: z.literal('vm-attached'), vm: index, incarnation: index });
const tick = z.object({ do: z.literal('tick'), now: time });
const leasedAsk = z.object({ do: z.literal('leased-ask'), cpu: index, id: u64 });
const own = z.discriminatedUnion('do', [lost, attached, tick, leasedAsk]);

/** Every step may say which inputs of ours, without effects, came before it. */
const before = { before: z.array(own).optional() };
const ownExpect = { ...before, expect: z.object(common) };

const step = z.discriminatedUnion('do', [
  z.object({
    do: z.literal('start'),
    cpu: index,
    ...before,
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
    // Ours: a load that sign-extends, the bytes of its register that it defines, when it was made.
    signed: z.boolean().optional(),
    regWidth: z.union([z.literal(4), z.literal(8)]).optional(),
    now: time.optional(),
    ...before,
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
    // Ours: an ASK that the backend's runtime answered from a lease.
    leased: z.boolean().optional(),
    ...before,
    expect: z.object({ ...common, ret: z.int(), out: z.array(z.string()).length(6) }),
  }),
  z.object({
    do: z.literal('deliver'),
    cpu: index,
    max: index.optional(),
    ...before,
    expect: z.object({ ...common, handled: index }),
  }),
  lost.extend(ownExpect),
  attached.extend(ownExpect),
  tick.extend(ownExpect),
  leasedAsk.extend(ownExpect),
]);

const head = z.object({
  format: z.literal('remio-vectors/1'),
  name: z.string(),
  class: z.enum(['valid', 'hostile', 'quirk', 'config', 'wait']),
  quirks: z.array(z.string()),
  description: z.string(),
  arch: z.enum(['aarch64', 'riscv64']),
  // Ours: the profile whose behaviour is recorded, with request ids as that profile gives them.
  profile: z.enum(['reference', 'hardened']).default('reference'),
  topology: z.object({
    cpus: index,
    slots: index,
    queue: index,
    // Ours: sizes of the shared memories by id, and the VMs' IPC objects.
    shmems: z.array(u64).optional(),
    vms: z.array(z.object({ cpus: z.array(index), devices: z.array(end), ipcs: z.array(ipc).optional() })),
  }),
  init: z.object({ events: z.array(event) }),
});

const finalState = z.object({
  cpus: z.array(z.unknown()),
  devices: z.array(z.unknown()),
  slots: z.array(z.unknown()),
});

/** What a vector says before its steps. */
export type VectorHead = z.infer<typeof head>;
export type VectorStep = z.infer<typeof step>;
/** An input that the format lacks. */
export type OwnInput = z.infer<typeof own>;
export type VectorEnd = z.infer<typeof finalState>;
/** A conformance vector (`remio-vectors/1`). */
export type Vector = VectorHead & { readonly steps: readonly VectorStep[]; readonly end?: VectorEnd | undefined };

/** Reads one part of a vector; the error names the place in it. */
const part =
  <S extends z.ZodType>(schema: S) =>
  (json: unknown): Result<z.output<S>, string> => {
    const parsed = schema.safeParse(json);
    if (parsed.success) return ok(parsed.data);
    const [issue] = parsed.error.issues;
    return err(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not a vector'}`);
  };

export const readHead = part(head);
export const readStep = part(step);
export const readEnd = part(finalState);

/** The machine of a vector, as the core takes it. */
export const configOf = ({ topology }: Pick<VectorHead, 'topology'>): RemioConfig => ({
  cpus: topology.cpus,
  slots: topology.slots,
  queue: topology.queue,
  ...(topology.shmems === undefined ? {} : { shmems: topology.shmems }),
  vms: topology.vms.map((vm) => ({
    cpus: vm.cpus.map(cpuId),
    ...(vm.ipcs === undefined
      ? {}
      : { ipcs: vm.ipcs.map(({ irqs, ...rest }) => ({ ...rest, interrupts: irqs.map(irqId) })) }),
    devices: vm.devices.map(({ key, irq, deadline, ...rest }) => ({
      ...rest,
      bindKey: bindKey(key),
      interrupt: irqId(irq),
      ...(deadline === undefined ? {} : { deadline }),
    })),
  })),
});

/** The other way round. */
export const topologyOf = (config: RemioConfig): z.input<typeof head>['topology'] => ({
  cpus: config.cpus,
  slots: config.slots,
  queue: config.queue,
  // What the format lacks is left out where there is none of it: such a recording is a vector as others are.
  ...(config.vms.some(({ ipcs = [] }) => ipcs.length > 0) ? { shmems: config.shmems?.map(hex) } : {}),
  vms: config.vms.map((vm) => ({
    cpus: [...vm.cpus],
    ...(vm.ipcs === undefined || vm.ipcs.length === 0
      ? {}
      : { ipcs: vm.ipcs.map(({ shmem, size, interrupts }) => ({ shmem, size: hex(size), irqs: [...interrupts] })) }),
    devices: vm.devices.map(({ type, bindKey: key, va, size, interrupt, shmem, deadline }) => ({
      type,
      key: hex(key),
      va: hex(va),
      size: hex(size),
      irq: interrupt,
      shmem: { base: hex(shmem.base), size: hex(shmem.size), id: shmem.id },
      ...(deadline === undefined ? {} : { deadline }),
    })),
  })),
});
