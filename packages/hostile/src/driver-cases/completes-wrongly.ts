import {
  type Arch,
  HC_REMIO,
  HYPERCALL_LAYOUT,
  hypercallRegisters,
  hypercallResult,
  REMIO_HYP_READ,
  REMIO_HYP_WRITE,
} from '@remio/arch';
import type { GuestCpu, GuestProgram } from '@remio/guest';
import type { LieLog } from './liar.js';
import type { Lie } from './lie.js';

/** What a foreign completion says that a register reads. */
const WRONG_VALUE = 0xdead_beefn;
/** Added to an id: one that no CPU of the platform has now. */
const FOREIGN = 1n << 40n;
/** Arguments of the call: dm, addr, op, value, id. */
const INPUTS = 5;

/** Whether registers are those of a completion. */
function isCompletion(arch: Arch, registers: readonly bigint[]): boolean {
  const { inputs } = HYPERCALL_LAYOUT[arch];
  const op = registers[inputs + 2] ?? 0n;
  const none = { nr: HC_REMIO, dm: 0n, addr: 0n, op, value: 0n, id: 0n };
  const call = hypercallRegisters(arch, none);
  const same = call.every((value, n) => (n >= inputs && n < inputs + INPUTS) || registers[n] === value);
  return same && (op === REMIO_HYP_READ || op === REMIO_HYP_WRITE);
}

/** A backend's program that also completes accesses which are not its to complete: the hypervisor has to refuse that. */
export function completesWrongly(program: GuestProgram, lies: readonly Lie[], log: LieLog): GuestProgram {
  const lie = lies.find((each) => 'completes' in each);
  if (lie === undefined) return program;
  return (cpu, vm) => program(bend(cpu, lie, log), vm);
}

function bend(cpu: GuestCpu, lie: Extract<Lie, { completes: string }>, log: LieLog): GuestCpu {
  const { inputs } = HYPERCALL_LAYOUT[cpu.arch];
  const [valueAt, idAt] = [inputs + 3, inputs + 4];
  let last: bigint | undefined;
  const wrong = async (registers: readonly bigint[], id: bigint | undefined): Promise<void> => {
    if (id === undefined) return;
    log.tell(lie);
    const changed = registers.map((value, n) => (n === idAt ? id : n === valueAt ? WRONG_VALUE : value));
    const answer = await cpu.hypercall(changed);
    if (hypercallResult(cpu.arch, answer) === 0n) log.accept();
  };
  const hypercall = async (registers: readonly bigint[]): Promise<readonly bigint[]> => {
    if (!isCompletion(cpu.arch, registers)) return cpu.hypercall(registers);
    const id = registers[idAt] ?? 0n;
    if (lie.completes === 'foreign') await wrong(registers, id + FOREIGN);
    if (lie.completes === 'old') await wrong(registers, last);
    // What the call returns is valid until the next one.
    const answer = [...(await cpu.hypercall(registers))];
    if (lie.completes === 'twice') await wrong(registers, id);
    last = id;
    return answer;
  };
  return new Proxy(cpu, {
    get: (target, key) => {
      if (key === 'hypercall') return hypercall;
      if (key === 'startCpu') {
        return (index: number, program: (other: GuestCpu) => Promise<void>) =>
          target.startCpu(index, (other) => program(bend(other, lie, log)));
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
