import { z } from 'zod';
import type { EndContext, EndProblem } from '../end-context.js';
import { from, name, present } from '../fields.js';
import { interfaceName, mac } from '../network-fields.js';

const QUEUE_PAIRS_MAX = 8;
const QUEUE_SIZE_MAX = 32_768;
/** Bounds of a device's MTU (VirtIO 1.4, 5.1.4.1). */
const MTU_MIN = 68;
const MTU_MAX = 65_535;

const capture = z.string().describe('Path of a capture (pcapng) of the frames, from this file');

export const netSchema = z.strictObject({
  type: z.literal('net'),
  switch: z
    .union([name, z.strictObject({ name, capture: capture.optional() })])
    .optional()
    .describe('Name of the switch of this VM that the device is at'),
  tap: interfaceName.optional().describe('Name of the host\u2019s TAP interface that the device is at'),
  mac: mac.optional().describe('MAC address; absent: one that comes of the device\u2019s name'),
  mtu: from(MTU_MIN, MTU_MAX).optional().describe('1500 unless it says otherwise'),
  queue_pairs: from(1, QUEUE_PAIRS_MAX).optional().describe('Queue pairs, 1 to 8'),
  queue_size: from(1, QUEUE_SIZE_MAX)
    .optional()
    .describe('QueueSizeMax; of split rings, the largest power of two within'),
  capture: capture.optional(),
});

/** Where a network device's frames go. */
export type NetLink =
  | { readonly kind: 'switch'; readonly name: string; readonly capture?: string }
  | { readonly kind: 'tap'; readonly name: string }
  | { readonly kind: 'none' | 'both' };

/** What the network device's model is given. */
export interface NetModelOptions {
  readonly link: NetLink;
  readonly mac: number;
  readonly mtu?: number;
  readonly queuePairs?: number;
  readonly queueSize?: number;
  /** Absolute path of a capture of what passes the device. */
  readonly capture?: string;
}

export function netOptions(device: z.output<typeof netSchema>, context: EndContext): NetModelOptions {
  return {
    link: linkOf(device, context),
    mac: device.mac ?? macOfName(context.name),
    ...present({
      mtu: device.mtu,
      queuePairs: device.queue_pairs,
      queueSize: device.queue_size,
      capture: device.capture === undefined ? undefined : context.resolve(device.capture),
    }),
  };
}

function linkOf({ switch: lan, tap }: z.output<typeof netSchema>, context: EndContext): NetLink {
  if (lan !== undefined && tap !== undefined) return { kind: 'both' };
  if (tap !== undefined) return { kind: 'tap', name: tap };
  if (lan === undefined) return { kind: 'none' };
  if (typeof lan === 'string') return { kind: 'switch', name: lan };
  const capturePath = lan.capture === undefined ? undefined : context.resolve(lan.capture);
  return { kind: 'switch', name: lan.name, ...present({ capture: capturePath }) };
}

const LOCALLY_ADMINISTERED = 0x0200_0000_0000;

/** A locally administered address: FNV-1a of the device's name, so that it is the same in every run. */
function macOfName(name: string): number {
  let hash = 0x811c_9dc5;
  for (const byte of new TextEncoder().encode(name)) hash = Math.imul(hash ^ byte, 0x0100_0193) >>> 0;
  return LOCALLY_ADMINISTERED + hash;
}

export function netProblems({ link }: NetModelOptions): readonly EndProblem[] {
  switch (link.kind) {
    case 'none':
      return [
        {
          rule: 'network',
          field: 'type',
          message: 'the network device is not at a link',
          fix: 'add switch: NAME, or tap: INTERFACE',
        },
      ];
    case 'both':
      return [
        {
          rule: 'network',
          field: 'tap',
          message: 'the network device is at two links',
          fix: 'keep either switch or tap',
        },
      ];
    case 'switch':
    case 'tap':
      return [];
  }
}
