import { err, hex, ok, type Result } from '@remio/base';
import type { TracedAccess } from '@remio/frontend-vm';
import { type VectorHead, type VectorPart, VectorReader } from '@remio/hypervisor/conformance';
import type { Topology, Vm } from '@remio/topology';
import { z } from 'zod';
import type { Misfit } from './base/misfits.js';

/** Accesses of a recording that an experiment makes again, at most. */
const ACCESSES_MAX = 100_000;
const HEX = /^0x[0-9a-f]{1,16}$/;

/** The register accesses of a recording, by what the recorded machine had. Plain data. */
export interface Trace {
  readonly format: 'remio-trace/1';
  /** By VM and vCPU: what it accessed. */
  readonly vms: readonly { readonly vcpus: readonly (readonly TracedAccess[])[] }[];
  /** Whether every access has its time. */
  readonly timed: boolean;
}

const traceSchema: z.ZodType<Trace> = z.strictObject({
  format: z.literal('remio-trace/1'),
  vms: z.array(
    z.strictObject({
      vcpus: z.array(
        z.array(
          z.strictObject({
            at: z.int().min(0),
            address: z.string().regex(HEX),
            width: z.union([z.literal(1), z.literal(2), z.literal(4), z.literal(8)]),
            value: z.string().regex(HEX).exactOptional(),
          }),
        ),
      ),
    }),
  ),
  timed: z.boolean(),
});

/** The text of a trace, as results of an experiment keep it in the place of a recording. */
export const textOfTrace = (trace: Trace): string => `${JSON.stringify(trace)}\n`;

/**
 * Takes the accesses out of a recording of `remio up --record`, or out of what results keep of one.
 * @returns otherwise why it is none, or none that can be made again
 */
export function readTrace(name: string, text: string): Result<Trace, string> {
  if (!text.startsWith('{"format":"remio-trace/1"')) return traceOf(name, text);
  try {
    const read = traceSchema.safeParse(JSON.parse(text));
    return read.success ? ok(read.data) : err(`${name} is no trace: ${read.error.issues[0]?.message ?? ''}`);
  } catch (error) {
    return err(`${name} is no trace: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function traceOf(name: string, text: string): Result<Trace, string> {
  const reader = new VectorReader();
  let head: VectorHead | undefined;
  const all: { readonly cpu: number; readonly now: number | undefined; readonly access: TracedAccess }[] = [];
  const take = (parts: readonly VectorPart[]): void => {
    for (const part of parts) {
      if (part.kind === 'head') ({ head } = part);
      if (part.kind !== 'step' || part.step.do !== 'mmio' || part.step.expect.result === 'unclaimed') continue;
      const { cpu, addr, width, dir, value, now } = part.step;
      if (width !== 1 && width !== 2 && width !== 4 && width !== 8) continue;
      const write = dir === 'w' ? { value: `0x${(value ?? 0n).toString(16)}` } : {};
      all.push({ cpu, now, access: { at: 0, address: `0x${addr.toString(16)}`, width, ...write } });
    }
  };
  for (const line of text.split('\n')) {
    const taken = reader.take(line);
    if (!taken.ok) return err(`${name} is no recording of remio up --record: ${taken.error}`);
    take(taken.value);
  }
  const rest = reader.finish();
  if (!rest.ok) return err(`${name} is no recording of remio up --record: ${rest.error}`);
  take(rest.value);
  if (head === undefined) return err(`${name} is no recording of remio up --record: it has no beginning`);
  if (all.length === 0) return err(`${name} has no register accesses: there is nothing to replay`);
  if (all.length > ACCESSES_MAX) {
    return err(`${name} has ${all.length} register accesses, more than ${ACCESSES_MAX}: record a shorter time`);
  }
  // Where nobody looked at the clock, every access was made at 0.
  const timed = all.every(({ now }) => now !== undefined) && all.some(({ now }) => now !== 0);
  const first = all.reduce((least, { now = 0 }) => Math.min(least, now), Number.MAX_SAFE_INTEGER);
  return ok({
    format: 'remio-trace/1',
    timed,
    vms: head.topology.vms.map(({ cpus }) => ({
      vcpus: cpus.map((id) =>
        all
          .filter(({ cpu }) => cpu === id)
          .map(({ now, access }) => ({ ...access, at: now === undefined ? 0 : Math.round(now - first) })),
      ),
    })),
  });
}

/**
 * What of a topology is not as the machine was that was recorded.
 * @param frontends VMs that make its accesses again
 */
export function traceMisfits(
  topology: Topology,
  frontends: readonly Vm[],
  name: string,
  { vms }: Trace,
): readonly Misfit[] {
  if (vms.length !== topology.vms.length) {
    const message = `${name} was recorded with ${vms.length} VMs, and there are ${topology.vms.length}`;
    return [{ path: 'vms', message }];
  }
  const accesses = ({ id }: Vm): boolean => vms[id]?.vcpus.some((list) => list.length > 0) === true;
  if (frontends.length > 0 && !frontends.some(accesses)) {
    const have = topology.vms.filter(accesses).map((vm) => vm.name);
    const message = `${name} has no register accesses of ${frontends.map((vm) => vm.name).join(', ')}; it has some of ${have.join(', ')}`;
    return [{ path: 'workload.vms', message }];
  }
  return topology.vms.flatMap((vm): readonly Misfit[] => {
    const vcpus = vms[vm.id]?.vcpus ?? [];
    const path = `vms.${vm.name}`;
    if (!accesses(vm)) return [];
    if (vcpus.length !== vm.cpus.length) {
      const message = `${name} was recorded with ${vcpus.length} vCPUs in this VM, and there are ${vm.cpus.length}`;
      return [{ path: `${path}.cpus`, message }];
    }
    const windows = vm.remioDevs.filter(({ type }) => type === 'frontend').map(({ window }) => window);
    const stray = vcpus.flat().find(({ address }) => {
      const at = BigInt(address);
      return !windows.some(({ base, size }) => at >= base && at < base + BigInt(size));
    });
    if (stray === undefined) return [];
    const there = windows.map(({ base }) => hex(base)).join(', ');
    const message = `${name} has an access to ${stray.address} in this VM; its devices in virtual time are at ${there || 'no address'}`;
    return [{ path: `${path}.remio_devs`, message }];
  });
}
