import { HC_REMIO, REMIO_HYP_ASK, REMIO_HYP_READ } from '@remio/arch';
import { assert, bindKey, cpuId, guestAddress, irqId } from '@remio/base';
import { RemioCore } from '@remio/hypervisor/core';
import { type Bench, median, showPerSecond } from './bench.js';

const WINDOW = 0xa00_3e00n;
const BACKEND = cpuId(0);
const FRONTEND = cpuId(1);

/** A core with one device, both of whose ends are up. */
function pair(): RemioCore {
  const shmem = { base: 0xd000_0000n, size: 0x1_0000n, id: 0 };
  const end = { bindKey: bindKey(0n), shmem };
  const core = RemioCore.create(
    {
      cpus: 2,
      slots: 2,
      queue: 253,
      vms: [
        { cpus: [BACKEND], devices: [{ ...end, type: 'backend', va: 0n, size: 0n, interrupt: irqId(40) }] },
        { cpus: [FRONTEND], devices: [{ ...end, type: 'frontend', va: WINDOW, size: 0x200n, interrupt: irqId(79) }] },
      ],
    },
    'hardened',
  );
  assert(core.ok, 'the configuration is a good one');
  for (const cpu of [BACKEND, FRONTEND]) core.value.step({ kind: 'start', cpu });
  for (const cpu of [BACKEND, FRONTEND]) core.value.step({ kind: 'deliver', cpu });
  return core.value;
}

/** Traps a second: the access, the backend's notification, ASK, READ, the frontend's completion. */
function trapsPerSecond(count: number): number {
  const core = pair();
  const access = {
    address: guestAddress(WINDOW),
    width: 4,
    write: false,
    register: 9,
    value: 0n,
    signExtend: false,
    registerWidth: 4,
  } as const;
  const call = { nr: HC_REMIO, dm: 0n, addr: 0n, op: REMIO_HYP_ASK, value: 0n, id: 0n };
  const start = process.hrtime.bigint();
  for (let n = 0; n < count; n += 1) {
    core.step({ kind: 'mmio', cpu: FRONTEND, access, now: 0 });
    core.step({ kind: 'deliver', cpu: BACKEND });
    let id = -1n;
    for (const effect of core.step({ kind: 'hypercall', cpu: BACKEND, call })) {
      if (effect.kind === 'return') id = effect.out?.[4] ?? -1n;
    }
    const done = { ...call, op: REMIO_HYP_READ, addr: WINDOW, value: 0x7472_6976n, id };
    core.step({ kind: 'hypercall', cpu: BACKEND, call: done });
    const effects = core.step({ kind: 'deliver', cpu: FRONTEND });
    assert(effects.length > 0, 'every access completes');
  }
  return count / (Number(process.hrtime.bigint() - start) / 1e9);
}

/** The core alone. */
export const core: Bench = {
  measure({ quick, runs, progress }) {
    const count = quick ? 200_000 : 2_000_000;
    const rates: number[] = [];
    trapsPerSecond(count / 4);
    for (let run = 0; run < runs; run += 1) {
      progress.at(run, 'runs');
      rates.push(trapsPerSecond(count));
    }
    return Promise.resolve({
      title: 'the Remio I/O core alone: access, notification, ASK, READ, completion; median',
      rows: [{ what: 'traps completed', figure: showPerSecond(median(rates)), bar: '1,000,000/s' }],
      data: { trapsPerSecond: median(rates), rates },
    });
  },
};
