import { assert } from '@remio/base';
import { standBy } from '@remio/guest';
import { BUILTIN_PROGRAMS, parseTopology, type Topology } from '@remio/topology';
import { expect, it } from 'vitest';
import { InprocEngine } from './index.js';

const topologyOf = (board: string): Topology => {
  const { topology } = parseTopology(`board: ${board}\nvms:\n  a:\n    cpus: 1\n    program: idle\n`, 'test.yaml', {
    resolve: (path) => path,
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });
  assert(topology !== undefined, 'the topology is good');
  return topology;
};

it.each([
  ['qemu-aarch64-virt', 'psci', 0x1],
  ['tx2', 'psci', 0x6],
  ['zcu104', 'wfi', undefined],
  ['rpi4', 'wfi', undefined],
  ['qemu-riscv64-virt', 'sbi', undefined],
] as const)('a vCPU of %s stands by through its firmware, or by WFI where it cannot: %s', async (board, by, state) => {
  let told: unknown;
  let woken = false;
  const engine = InprocEngine.create(
    topologyOf(board),
    () => async (cpu, vm) => {
      told = vm.standby;
      cpu.onInterrupt(cpu.timerIrq, () => {});
      await cpu.setTimer(cpu.counter() + 1_000_000n);
      await standBy(cpu, vm);
      woken = true;
    },
    { report: () => {}, log: () => {} },
  );
  assert(engine.ok, 'the platform is sound');
  engine.value.start();
  for (let turn = 0; turn < 10_000 && !woken; turn += 1) await new Promise((resolve) => setTimeout(resolve, 1));
  const { hypercalls } = engine.value.platform.vmStats(engine.value.vm('a'));
  await engine.value.stop();
  expect(woken).toBe(true);
  expect(told).toEqual({ by, ...(state === undefined ? {} : { state }) });
  // On RV64 the timer is a call as well.
  expect(hypercalls).toBe((by === 'wfi' ? 0 : 1) + (by === 'sbi' ? 1 : 0));
});
