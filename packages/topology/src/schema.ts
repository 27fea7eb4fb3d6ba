import { COST_NAMES, type CostOverrides } from '@remio/board';
import type { RingFeatureName } from '@remio/virtio-spec';
import { z } from 'zod';
import { deviceSchemas } from './devices/index.js';
import { driverSchemas } from './drivers/index.js';
import { cost, count, duration, hertz, name, options, present, publicKey, size, u64 } from './fields.js';
import { ipcDriverSchemas } from './ipc-drivers/index.js';

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

const device = z.union([...deviceSchemas, z.strictObject({ module: z.string(), options: options.optional() })], {
  error: 'expected { type: block, image: PATH, … } or another device of docs/devices.md, or { module: PATH, options }',
});

const driver = z.union([...driverSchemas], { error: 'expected { type: NAME, … }, a driver of docs/devices.md' });

const ipcDriver = z.discriminatedUnion('type', [...ipcDriverSchemas], {
  error: 'expected { type: NAME, … }, a driver for shared memories of docs/ipc.md',
});

/** Ring features by name, each on or off. */
const ring = z
  .strictObject({
    indirect_desc: z.boolean().optional(),
    event_idx: z.boolean().optional(),
    packed: z.boolean().optional(),
    in_order: z.boolean().optional(),
    notification_data: z.boolean().optional(),
    ring_reset: z.boolean().optional(),
  } satisfies Record<RingFeatureName, unknown>)
  .describe('Ring features that this end offers (backend: all by default) or accepts (frontend: all but in_order)');

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
  ring: ring.optional(),
  vcpu: count
    .optional()
    .describe('vCPU of this VM, from 0, that takes the interrupt; at a frontend, it drives the device'),
  queue_vcpus: z.array(count).optional().describe('vCPUs of this VM by queue number: each serves that queue'),
  deadline: duration.optional().describe('Frontend: after this time an unanswered access ends as a fault'),
  device: device.optional().describe('Backend: the device model'),
  on_backend_loss: z
    .enum(['needs_reset', 'resume'])
    .optional()
    .describe(
      'Backend: what a device does whose process was lost. needs_reset, the default: the driver has to reset it. resume, for block devices: it goes on where it stopped',
    ),
  driver: driver.optional().describe('Frontend, under program: drivers: what drives the device'),
  repeat: z
    .strictObject({
      pause: duration.optional().describe('Between two runs; 1s unless it says otherwise'),
      patience: duration.optional().describe('After which a run counts as failed; never unless it says otherwise'),
    })
    .optional()
    .describe('Frontend: the driver begins anew, from the reset of its device on, whenever it has ended or failed'),
});

const ipc = z.strictObject({
  memory: name.describe('The shared memory'),
  base: u64.describe('Where this VM sees it'),
  size: size.optional().describe('Bytes to map, from the memory\u2019s start; all unless it says otherwise'),
  interrupts: z.array(count).describe('Interrupt of each event, raised in this VM when another one rings'),
  driver: ipcDriver.optional().describe('Under program: drivers: what uses it'),
});

const phys = u64.optional().describe('Where in the board\u2019s RAM it lies; absent: where the hypervisor finds room');

const via = z
  .enum(['auto', 'mapping', 'service'])
  .optional()
  .describe(
    'How processes get at it: a file that both map, or the memory service. auto, the default: a mapping where they can share one',
  );

const vm = z.strictObject({
  cpus: z.union([count, z.array(count)], { error: 'expected a number of CPUs, or a list of them' }),
  memory: z.array(z.strictObject({ base: u64, size, phys })).optional(),
  program: program.optional().describe('Absent: `dispatcher` where there are backends, else `drivers`'),
  remio_devs: z.array(remioDev).optional(),
  ipcs: z.array(ipc).optional(),
});

/** What a user measured, for virtual time (docs/experiments.md). */
const costs = z
  .strictObject({
    clock_hz: hertz.optional(),
    ...Object.fromEntries(COST_NAMES.map((cause) => [cause, cost.optional()])),
  })
  .transform((given) => present(given) as CostOverrides)
  .describe('Virtual time: costs that you measured, in cycles, instead of those of the board');

const keys = z
  .strictObject({
    hypervisor: publicKey,
    observer: publicKey.describe('Whoever watches: `remio ring`, and `remio up` itself'),
    vms: z.record(name, publicKey).describe('Every VM by name: only who has this key may run it'),
  })
  .describe('Public keys, which `remio keys` makes: who may talk, between hosts (docs/keys.md)');

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
  costs: costs.optional(),
  shared_memories: z.record(name, z.strictObject({ size, phys, via })).optional(),
  vms: z.record(name, vm),
  keys: keys.optional(),
  on_hypervisor_loss: z
    .enum(['stop', 'reconnect'])
    .optional()
    .describe(
      'stop, the default: processes of VMs end with their hypervisor. reconnect: they wait for another one, and their VMs boot anew',
    ),
  hosts: z
    .record(name, z.array(name))
    .optional()
    .describe(
      'Processes that run several VMs each: all backends, or all frontends. Absent: chosen by how many there are',
    ),
});

export type TopologyFile = z.output<typeof topologySchema>;
export type VmFile = z.output<typeof vm>;
export type RemioDevFile = z.output<typeof remioDev>;
export type IpcFile = z.output<typeof ipc>;
