import { boardNames, COST_NAMES } from '@remio/board';
import { fields } from '@remio/topology';
import { LINK, MEDIUM } from '@remio/world';
import { z } from 'zod';
import type { RawTopology } from './base/base-topology.js';
import type { Trace } from './trace.js';
import { checkWorkload, ECHOED, WORKLOAD_TYPES } from './workload-rules.js';

const { atMost, cost, duration, from, hertz, size } = fields;

const share = z
  .union([z.bigint().transform(Number), z.number()])
  .refine((value) => value >= 0 && value <= 1, 'expected a share from 0 to 1');
const perSecond = z
  .union([z.bigint().transform(Number), z.number()])
  .refine((value) => value >= 0 && value <= 1e9, 'expected a rate from 0 to 10^9 a second');
const nanoseconds = duration.transform(Number);
const bytes = size.transform(Number);

/** Frontends and backends that an experiment's platform is made of. */
export const platformSchema = z.strictObject({
  board: z
    .enum(boardNames as [string, ...string[]], { error: `expected one of ${boardNames.join(', ')}` })
    .default('synthetic-aarch64'),
  profile: z.enum(['reference', 'hardened']).default('hardened'),
  frontends: from(1, 4000).default(1).describe('Frontend VMs'),
  vcpus: from(1, 64).default(1).describe('vCPUs of each frontend'),
  devices: from(1, 64).default(1).describe('Devices of each frontend'),
  backends: from(1, 4000).default(1).describe('Backend VMs; devices are dealt out to them in turn'),
  backend_cpus: from(1, 64).default(1).describe('vCPUs of each backend'),
  slots: from(1, 4096).optional().describe('Request slots of the hypervisor; one per CPU of the board if absent'),
  event_idx: z.boolean().default(true).describe('Notification suppression by EVENT_IDX'),
  packed: z.boolean().default(true).describe('Packed rings instead of split ones'),
  disk: bytes.default(64 * 1024 * 1024).describe('Bytes of each disk'),
});

const patterns = z.union([z.string().transform((pattern) => [pattern]), z.array(z.string())], {
  error: 'expected a pattern of names of VMs, or a list of them: front*',
});

/** What every frontend does. */
export const workloadSchema = z.strictObject({
  type: z.enum(WORKLOAD_TYPES, { error: `expected one of ${WORKLOAD_TYPES.join(', ')}` }).default('block'),
  pattern: z.enum(['random', 'sequential']).default('random'),
  size: bytes.optional().describe('Bytes of a request, of a frame with its header, or of what is written at once'),
  depth: from(1, 256).default(1).describe('Operations in flight per vCPU and device'),
  reads: share.default(1).describe('Share of reads'),
  think: nanoseconds.default(0).describe('Time between an operation and the next, on average'),
  rate: perSecond
    .default(0)
    .describe('Operations a second per vCPU and device, whatever becomes of them; 0: closed loop'),
  recording: z.string().optional().describe('A recording of `remio up --record`, from this file; of type replay'),
  pace: z.enum(['recorded', 'asap']).default('recorded').describe('Of a replay: when accesses come'),
  burst: from(1, 256).default(1).describe('Operations that come together, with a rate'),
  vms: patterns.default(['*']).describe('With a base topology: the frontends that do it'),
});

/** What the disks of the backends are. */
export const mediumSchema = z.strictObject({
  latency: nanoseconds.default(MEDIUM.latency),
  bandwidth: bytes.refine((value) => value >= 1, 'expected at least a byte a second').default(MEDIUM.bandwidth),
  channels: from(1, 1024).default(MEDIUM.channels),
  variation: share.default(MEDIUM.variation),
  shared: z.boolean().default(false).describe('All disks are parts of one medium'),
  copies: z.boolean().default(true).describe('The backend’s CPU copies the data, as from a page cache'),
});

/** Where the frames of network devices and the characters of consoles go, and come back from. */
export const linkSchema = z.strictObject({
  latency: nanoseconds.default(LINK.latency),
  bandwidth: bytes.refine((value) => value >= 1, 'expected at least a byte a second').default(LINK.bandwidth),
});

/** What the same frontends do at the same time, on devices of its own; told apart from what is measured. */
export const besideSchema = workloadSchema
  .omit({ vms: true })
  .extend({ devices: atMost(64).default(0).describe('Devices of each frontend for it; 0: nothing is done besides') });

/** Frontends that the others have to live with; they are not part of what is measured. */
export const noisySchema = workloadSchema.extend({
  frontends: atMost(64).default(0),
  vms: patterns.default([]).describe('With a base topology: instead of `frontends`'),
});

/** When to look. */
export const measureSchema = z.strictObject({
  warm_up: nanoseconds.default(2_000_000),
  duration: nanoseconds.refine((value) => value > 0, 'expected some time').default(20_000_000),
  patience: nanoseconds
    .refine((value) => value > 0, 'expected some time')
    .default(1000e9)
    .describe('After which a run has failed that is not ready, or does not end'),
});

/** Instead of the board's: cycles. */
export const costsSchema = z.strictObject({
  clock_hz: hertz.optional(),
  ...Object.fromEntries(COST_NAMES.map((name) => [name, cost.optional()])),
});

/** What one point of an experiment is made of. */
export const settingsSchema = z
  .strictObject({
    platform: platformSchema.prefault({}),
    workload: workloadSchema.prefault({}),
    medium: mediumSchema.prefault({}),
    link: linkSchema.prefault({}),
    beside: besideSchema.prefault({}),
    noisy: noisySchema.prefault({}),
    measure: measureSchema.prefault({}),
    costs: costsSchema.prefault({}),
  })
  .superRefine((settings, context) => {
    for (const section of ['workload', 'beside', 'noisy'] as const) {
      for (const { field, message } of checkWorkload(settings[section])) {
        context.addIssue({ code: 'custom', path: [section, field], message });
      }
    }
    const { platform, workload, beside, noisy } = settings;
    for (const section of ['beside', 'noisy'] as const) {
      if (settings[section].type !== 'replay') continue;
      const message = 'only what is measured can be a replay';
      context.addIssue({ code: 'custom', path: [section, 'type'], message });
    }
    if ((workload.type === 'replay') !== (workload.recording !== undefined)) {
      const message =
        'a workload of type replay names its recording, and no other does: { type: replay, recording: FILE }';
      context.addIssue({ code: 'custom', path: ['workload', 'type'], message });
    }
    const used = [workload, ...(beside.devices > 0 ? [beside] : []), ...(noisy.frontends > 0 ? [noisy] : [])];
    const single = used.find(({ type }) => ECHOED.includes(type));
    if (platform.vcpus > 1 && single !== undefined) {
      const message = `a ${single.type} workload has one vCPU; make more frontends, or write \`vcpus: 1\``;
      context.addIssue({ code: 'custom', path: ['platform', 'vcpus'], message });
    }
  });

export interface Settings extends z.output<typeof settingsSchema> {
  /** The topology that the point is made of; absent: `platform` describes it. */
  readonly base?: RawTopology;
  /** What is replayed. */
  readonly trace?: Trace;
}

const SECTIONS = {
  platform: platformSchema,
  workload: workloadSchema,
  medium: mediumSchema,
  link: linkSchema,
  beside: besideSchema,
  noisy: noisySchema,
  measure: measureSchema,
  costs: costsSchema,
} as const;

/** Every parameter: `platform.frontends`, `workload.depth`, … */
export const PARAMETERS: readonly string[] = Object.entries(SECTIONS).flatMap(([section, schema]) =>
  Object.keys(schema.shape).map((name) => `${section}.${name}`),
);

/** Parameters that begin so are paths into the base topology. */
export const TOPOLOGY_PREFIX = 'topology.';
/** Names the base topology, in a sweep too. */
export const BASE_PARAMETER = 'base';

/** Whether something can be set by a sweep. */
export const isParameter = (name: string): boolean =>
  PARAMETERS.includes(name) || name === BASE_PARAMETER || name.startsWith(TOPOLOGY_PREFIX);

const scalar = z.union([z.string(), z.boolean(), z.number(), z.bigint()]);

/** Figures that can be compared. */
export const METRICS = ['throughput', 'p50', 'p99', 'p99.9'] as const;
export type Metric = (typeof METRICS)[number];

const conclusion = z.strictObject({
  compare: z.string().describe('The dimension of the sweep whose values compete'),
  metric: z.enum(METRICS).default('throughput'),
  at: z.record(z.string(), scalar).default({}).describe('Values of the other dimensions; their last ones if absent'),
});

/** The language of experiment files, beside the sections of {@link settingsSchema}. */
export const experimentSchema = z.strictObject({
  name: fields.name.describe('Names the folder of results'),
  title: z.string(),
  question: z.string().optional(),
  notes: z.string().optional(),
  base: z.string().optional().describe('A topology file, from this one: instead of what `platform` describes'),
  platform: z.unknown().optional(),
  workload: z.unknown().optional(),
  medium: z.unknown().optional(),
  link: z.unknown().optional(),
  beside: z.unknown().optional(),
  noisy: z.unknown().optional(),
  measure: z.unknown().optional(),
  costs: z.unknown().optional(),
  sweep: z
    .record(
      z.string(),
      z.union(
        [
          z.array(z.unknown()).min(1),
          z.record(z.string(), z.record(z.string(), z.unknown())).describe('Cases by name, each with its parameters'),
        ],
        {
          error:
            'expected a list of values, or cases by name, each with its parameters: { one: { platform.backends: 1 } }',
        },
      ),
    )
    .default({}),
  repetitions: from(1, 100).default(3),
  seed: z.bigint().transform(Number).default(1),
  clock: z.enum(['virtual', 'wall']).default('virtual'),
  x: z.string().optional().describe('The dimension along the x axis; the first one with numbers if absent'),
  conclusion: conclusion.optional(),
});

export type ExperimentFile = z.output<typeof experimentSchema>;
export type Conclusion = z.output<typeof conclusion>;
export type Scalar = string | number | boolean;
