import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { HYPERCALL_LAYOUT, hypercallOutput, hypercallResult, REMIO_HYP_ASK, REMIO_HYP_READ } from '@remio/arch';
import { assert } from '@remio/base';
import type { Profile } from '@remio/hypervisor/core';
import { describe, expect, it } from 'vitest';
import { caseIds, describeCatalogue } from './catalogue.js';
import { HYPERCALL_CASES, type HypercallCase, type HypercallStep, type PerProfile } from './hypercall-cases.js';
import {
  type Abi,
  type Called,
  CoreMachine,
  type HypercallMachine,
  PlatformMachine,
  WINDOW,
} from './hypercall-machine.js';

const vectors = join(import.meta.dirname, '..', 'vectors', 'remio');

const PROFILES: readonly Profile[] = ['reference', 'hardened'];
const ABIS: readonly Abi[] = [
  { arch: 'aarch64', conduit: 'hvc' },
  { arch: 'aarch64', conduit: 'smc' },
  { arch: 'riscv64', conduit: 'ecall' },
];

const isPerProfile = <T>(value: PerProfile<T>): value is { readonly reference: T; readonly hardened: T } =>
  typeof value === 'object' && value !== null && 'hardened' in value;

const of = <T>(value: PerProfile<T>, profile: Profile): T => (isPerProfile(value) ? value[profile] : value);

/** Runs a case's steps on a machine, and after them an access that has nothing to do with it. */
function run({ steps }: HypercallCase, profile: Profile, machine: HypercallMachine): void {
  const ids = new Map<string, bigint>();
  steps.forEach((step, n) => {
    const where = `step ${n}, ${step.do}`;
    switch (step.do) {
      case 'access':
        expect(machine.access(step.cpu, step), where).toBe(of(step.becomes, profile));
        break;
      case 'call':
        call(step, profile, machine, ids, where);
        break;
      case 'deliver':
        machine.deliver(step.cpu);
        break;
      case 'finds':
        expect(machine.vcpu(step.cpu).state, where).toBe(of(step.state, profile));
        if (step.register !== undefined) expect(machine.register(step.cpu), where).toBe(of(step.register, profile));
        break;
      case 'interrupts':
        expect(machine.vcpu(step.cpu).irqs, where).toEqual(of(step.irqs, profile));
        break;
    }
  });
  bystander(machine);
}

function call(
  step: Extract<HypercallStep, { do: 'call' }>,
  profile: Profile,
  machine: HypercallMachine,
  ids: Map<string, bigint>,
  where: string,
): void {
  const id = typeof step.id === 'string' ? ids.get(step.id) : step.id;
  assert(id !== undefined, `${where}: no earlier step kept ${step.id}`);
  const called = machine.call(step.cpu, { ...step, id });
  const { arch } = machine.abi;
  const gives = of(step.gives, profile);
  expect(hypercallResult(arch, called.after), where).toBe(gives);
  const asked = step.op === REMIO_HYP_ASK && gives === 0n;
  if (!asked) {
    expect(called.after, `${where}: registers`).toEqual(resultOnly(machine.abi, called, gives));
    return;
  }
  const output = (at: number): bigint => hypercallOutput(arch, called.after, at);
  const { op, value, width, more } = step.shows ?? {};
  expect(output(0), where).toBe(WINDOW);
  if (op !== undefined) expect(output(1), where).toBe(op);
  if (value !== undefined) expect(output(2), where).toBe(of(value, profile));
  if (width !== undefined) expect(output(3), where).toBe(BigInt(width));
  if (more !== undefined) expect(output(5), where).toBe(more ? 1n : 0n);
  if (step.keep !== undefined) ids.set(step.keep, output(4));
}

/** Section B.1: registers after a call without outputs. On RV64 a0 says that the call was understood. */
function resultOnly({ arch }: Abi, { before }: Called, ret: bigint): readonly bigint[] {
  const after = [...before];
  if (arch === 'riscv64') after[0] = 0n;
  after[HYPERCALL_LAYOUT[arch].result] = BigInt.asUintN(64, ret);
  return after;
}

/** Other VMs go on: guest2 reads a register of its device, and other serves it. */
function bystander(machine: HypercallMachine): void {
  const bao = { nr: 2n, dm: 0n, addr: 0n, value: 0n, id: 0n };
  expect(machine.access('guest2.0', { width: 4 }), 'another VM\u2019s access').toBe('paused');
  const asked = machine.call('other.0', { ...bao, op: REMIO_HYP_ASK });
  const id = hypercallOutput(machine.abi.arch, asked.after, 4);
  machine.call('other.0', { ...bao, op: REMIO_HYP_READ, id, value: 0x55n });
  machine.deliver('guest2.0');
  expect(machine.vcpu('guest2.0').state, 'another VM\u2019s vCPU').toBe('running');
  expect(machine.register('guest2.0'), 'another VM\u2019s register').toBe(0x55n);
}

for (const abi of ABIS) {
  for (const profile of PROFILES) {
    const name = `catalogue C, hypercalls: ${abi.arch} by ${abi.conduit}, profile ${profile}`;
    describeCatalogue(name, caseIds('C', 1, 12), HYPERCALL_CASES, (each) => {
      run(each, profile, new CoreMachine(abi, profile, each.machine ?? {}, each.level === 'core'));
      if (each.level !== 'core') run(each, profile, new PlatformMachine(abi, profile, each.machine ?? {}));
    });
  }
}

describe('catalogue C, hypercalls', () => {
  it('names vectors that there are', () => {
    for (const { vector } of HYPERCALL_CASES) {
      if (vector !== undefined) expect(existsSync(join(vectors, `a64-${vector}.json`)), vector).toBe(true);
    }
  });
});
