import { type GuestProgram, ProgramError } from '@remio/guest';
import { MMIO } from '@remio/virtio-spec';

interface MmioPingOptions {
  /** Reads to make after the warm-up. */
  readonly count?: number;
  readonly warmUp?: number;
  /** Whether each read is timed; if not, only all together are. */
  readonly timed?: boolean;
}

/** Reads one register of the VM's first device again and again, and reports how long each read took. */
export const mmioPing =
  (options: MmioPingOptions): GuestProgram =>
  async (cpu, vm) => {
    const [end] = vm.devices;
    if (end === undefined) throw new ProgramError(`VM ${vm.name} has no device to read`);
    const register = end.window.base + BigInt(MMIO.MagicValue);
    for (let n = 0; n < (options.warmUp ?? 1000); n += 1) await cpu.load32(register);
    const count = options.count ?? 10_000;
    const times = new Float64Array(count);
    const start = vm.hostTime();
    let before = start;
    for (let n = 0; n < count; n += 1) {
      await cpu.load32(register);
      if (options.timed === false) continue;
      const now = vm.hostTime();
      times[n] = Number(now - before);
      before = now;
    }
    const totalNs = Number(vm.hostTime() - start);
    times.sort();
    const at = (quantile: number): number => times[Math.min(count - 1, Math.floor(quantile * count))] ?? 0;
    vm.report({
      kind: 'mmio-ping',
      count,
      totalNs,
      p50Ns: at(0.5),
      p99Ns: at(0.99),
      maxNs: at(1),
    });
  };
