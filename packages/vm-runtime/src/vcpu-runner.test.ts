import { cpuId, irqId, vmId } from '@remio/base';
import { type GuestProgram, ProgramSeat, SymbolTable } from '@remio/guest';
import type { VmRecord } from '@remio/protocol';
import { describe, expect, it } from 'vitest';
import { hostScheduler } from './scheduler.js';
import { VcpuRunner } from './vcpu-runner.js';

const ENTRY = 0x8000_0000n;
const REGISTER = 0xa00_3e00n;

/** A vCPU that runs this program, and what it sends; its interrupt 40 is enabled. */
function started(program: (cpu: Parameters<GuestProgram>[0]) => Promise<void>) {
  const symbols = new SymbolTable(ENTRY);
  symbols.add(program);
  const irqc = { kind: 'plic', base: 0xc00_0000n } as const;
  const seat = new ProgramSeat({ arch: 'riscv64', symbols, memories: [], irqc, counter: () => 0n, seats: [] }, 0);
  const sent: VmRecord['kind'][] = [];
  const host = {
    send: (record: VmRecord) => void sent.push(record.kind),
    onOff: () => {},
    indexOf: () => 0,
  };
  const runner = new VcpuRunner([{ vm: vmId(0), cpu: cpuId(0), seat, leases: undefined }], host, hostScheduler);
  runner.start(0, ENTRY, 0n);
  return { runner, seat, sent };
}

const answer = { kind: 'access', register: 5, value: 0n, pc: ENTRY + 4n } as const;
/** No microtask is left. */
const quiet = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('vCPUs of a process', () => {
  it('go on from the answer to an access to the next one, and wait in between', async () => {
    const { runner, sent } = started(async (cpu) => {
      await cpu.load32(REGISTER);
      await cpu.load32(REGISTER);
    });
    await quiet();
    expect([runner.going, sent]).toEqual([false, ['trap']]);
    runner.complete(0, answer);
    expect(runner.going).toBe(true);
    await quiet();
    expect([runner.going, sent]).toEqual([false, ['trap', 'trap']]);
    runner.complete(0, answer);
    await quiet();
    // Its program has ended.
    expect(runner.going).toBe(false);
  });

  it('wait in WFI, and go on while a handler runs that waits for the host', async () => {
    let end = (): void => {};
    const { runner, seat } = started(async (cpu) => {
      cpu.onInterrupt(
        irqId(40),
        () =>
          new Promise((resolve) => {
            end = resolve;
          }),
      );
      await cpu.idle();
    });
    await quiet();
    expect(runner.going).toBe(false);
    seat.raise(irqId(40));
    await quiet();
    expect(runner.going).toBe(true);
    end();
    await quiet();
    expect(runner.going).toBe(false);
  });

  it('wait for what a handler asks the hypervisor, and no more when they are stopped', async () => {
    const { runner, seat, sent } = started(async (cpu) => {
      cpu.onInterrupt(irqId(40), () => (cpu.hypercall([1n]) as Promise<readonly bigint[]>).then(() => undefined));
      await cpu.idle();
    });
    await quiet();
    seat.raise(irqId(40));
    expect([runner.going, sent]).toEqual([false, ['hypercall']]);
    runner.complete(0, { kind: 'hypercall', registers: [], pc: ENTRY });
    expect(runner.going).toBe(true);
    runner.stop(0);
    expect(runner.going).toBe(false);
  });
});
