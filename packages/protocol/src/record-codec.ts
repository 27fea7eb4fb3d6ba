import { type Conduit, HYPERCALL_REGISTERS } from '@remio/arch';
import { cpuId, irqId, requestId, vmId } from '@remio/base';
import type { HypervisorRecord, VmRecord } from './records.js';

/**
 * Records travel flat, one after another, in the array of their frame: a code, then the record's fields in a fixed
 * order. The code tells how many follow. 64-bit fields are always bigint here, and 9 bytes on the wire.
 */
export const RECORD = {
  TRAP_AARCH64: 1,
  TRAP_RISCV64: 2,
  HYPERCALL_AARCH64: 3,
  HYPERCALL_RISCV64: 4,
  POSTED_AARCH64: 5,
  POSTED_RISCV64: 6,
  ASKED: 7,
  OFF: 8,
  RESUME: 32,
  FAULT: 33,
  RESULT_AARCH64: 34,
  RESULT_RISCV64: 35,
  IRQ: 36,
  LEASE: 37,
  REVOKE: 38,
  CPU_ON: 39,
  CPU_OFF: 40,
  TIMER: 41,
} as const;

/** Kinds of fields: `n` an integer from 0 to 2^32-1, `u` a 64-bit number, `s` a text. */
const A64 = HYPERCALL_REGISTERS.aarch64;
const RV64 = HYPERCALL_REGISTERS.riscv64;
export const RECORD_FIELDS: Readonly<Record<number, string>> = {
  [RECORD.TRAP_AARCH64]: 'nnuuuuu',
  [RECORD.TRAP_RISCV64]: 'nnuuuuunu',
  [RECORD.HYPERCALL_AARCH64]: `nnnu${'u'.repeat(A64)}`,
  [RECORD.HYPERCALL_RISCV64]: `nnnu${'u'.repeat(RV64)}`,
  [RECORD.POSTED_AARCH64]: `nnnu${'u'.repeat(A64)}`,
  [RECORD.POSTED_RISCV64]: `nnnu${'u'.repeat(RV64)}`,
  [RECORD.ASKED]: 'nnu',
  [RECORD.OFF]: 'nn',
  [RECORD.RESUME]: 'nnnuu',
  [RECORD.FAULT]: 'nnuu',
  [RECORD.RESULT_AARCH64]: `nnu${'u'.repeat(A64)}`,
  [RECORD.RESULT_RISCV64]: `nnu${'u'.repeat(RV64)}`,
  [RECORD.IRQ]: 'nnn',
  [RECORD.LEASE]: 'nnuunun',
  [RECORD.REVOKE]: 'nnu',
  [RECORD.CPU_ON]: 'nnuu',
  [RECORD.CPU_OFF]: 'nns',
  [RECORD.TIMER]: 'nnu',
};

/** Conduits by number on the wire. */
const CONDUITS: readonly Conduit[] = ['hvc', 'smc', 'ecall'];

/** A value in a frame's array. */
export type Field = number | bigint | string;

/** Appends a record of a VM's process. */
export function writeVmRecord(out: Field[], record: VmRecord): void {
  switch (record.kind) {
    case 'trap': {
      const { trap } = record;
      if (trap.arch === 'aarch64') {
        out.push(RECORD.TRAP_AARCH64, record.vm, record.cpu, trap.esr, trap.far, trap.hpfar, trap.pc, trap.source);
      } else {
        out.push(RECORD.TRAP_RISCV64, record.vm, record.cpu, trap.scause, trap.stval, trap.htval, trap.htinst);
        out.push(trap.sepc, trap.instruction, trap.source);
      }
      return;
    }
    case 'hypercall':
    case 'posted': {
      const { frame } = record;
      const posted = record.kind === 'posted';
      const code =
        frame.arch === 'aarch64'
          ? posted
            ? RECORD.POSTED_AARCH64
            : RECORD.HYPERCALL_AARCH64
          : posted
            ? RECORD.POSTED_RISCV64
            : RECORD.HYPERCALL_RISCV64;
      out.push(code, record.vm, record.cpu, CONDUITS.indexOf(frame.conduit), frame.pc, ...frame.registers);
      return;
    }
    case 'asked':
      out.push(RECORD.ASKED, record.vm, record.cpu, record.id);
      return;
    case 'off':
      out.push(RECORD.OFF, record.vm, record.cpu);
  }
}

/** Appends a record of the hypervisor. */
export function writeHypervisorRecord(out: Field[], record: HypervisorRecord): void {
  switch (record.kind) {
    case 'resume':
      out.push(RECORD.RESUME, record.vm, record.cpu, record.register, record.value, record.pc);
      return;
    case 'fault':
      out.push(RECORD.FAULT, record.vm, record.cpu, record.cause, record.address);
      return;
    case 'result':
      out.push(
        record.registers.length === A64 ? RECORD.RESULT_AARCH64 : RECORD.RESULT_RISCV64,
        record.vm,
        record.cpu,
        record.pc,
        ...record.registers,
      );
      return;
    case 'irq':
      out.push(RECORD.IRQ, record.vm, record.cpu, record.irq);
      return;
    case 'lease':
      out.push(RECORD.LEASE, record.vm, record.dm, record.id, record.addr, record.op, record.value, record.width);
      return;
    case 'revoke':
      out.push(RECORD.REVOKE, record.vm, record.dm, record.id);
      return;
    case 'cpu-on':
      out.push(RECORD.CPU_ON, record.vm, record.cpu, record.entry, record.argument);
      return;
    case 'cpu-off':
      out.push(RECORD.CPU_OFF, record.vm, record.cpu, record.reason);
      return;
    case 'timer':
      out.push(RECORD.TIMER, record.vm, record.cpu, record.deadline);
  }
}

/** What is wrong with a frame. */
export class MalformedFrame extends Error {
  override readonly name = 'MalformedFrame';
}

/** Reads a frame's records in order; every field is checked before it is used. */
class FieldReader {
  readonly #fields: readonly unknown[];
  #at: number;

  constructor(fields: readonly unknown[], from: number) {
    this.#fields = fields;
    this.#at = from;
  }

  get done(): boolean {
    return this.#at >= this.#fields.length;
  }

  n(): number {
    const value = this.#fields[this.#at++];
    if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff) return value;
    throw new MalformedFrame(`field ${this.#at - 1} is no integer from 0 to 2^32-1`);
  }

  u(): bigint {
    const value = this.#fields[this.#at++];
    if (typeof value === 'bigint' && value >= 0n && value < 1n << 64n) return value;
    // Other encoders choose the shortest form of a number: that is the same number.
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return BigInt(value);
    throw new MalformedFrame(`field ${this.#at - 1} is no 64-bit number`);
  }

  registers(count: number): readonly bigint[] {
    const values: bigint[] = [];
    for (let n = 0; n < count; n += 1) values.push(this.u());
    return values;
  }

  s(): string {
    const value = this.#fields[this.#at++];
    if (typeof value === 'string' && value.length <= 4096) return value;
    throw new MalformedFrame(`field ${this.#at - 1} is no text of at most 4096 characters`);
  }
}

/** @throws MalformedFrame */
export function readVmRecords(fields: readonly unknown[], from: number): readonly VmRecord[] {
  const reader = new FieldReader(fields, from);
  const records: VmRecord[] = [];
  while (!reader.done) records.push(readVmRecord(reader));
  return records;
}

function readVmRecord(r: FieldReader): VmRecord {
  const code = r.n();
  const vm = vmId(r.n());
  const cpu = cpuId(r.n());
  switch (code) {
    case RECORD.TRAP_AARCH64:
      return {
        kind: 'trap',
        vm,
        cpu,
        trap: { arch: 'aarch64', esr: r.u(), far: r.u(), hpfar: r.u(), pc: r.u(), source: r.u() },
      };
    case RECORD.TRAP_RISCV64:
      return {
        kind: 'trap',
        vm,
        cpu,
        trap: {
          arch: 'riscv64',
          scause: r.u(),
          stval: r.u(),
          htval: r.u(),
          htinst: r.u(),
          sepc: r.u(),
          instruction: r.n(),
          source: r.u(),
        },
      };
    case RECORD.HYPERCALL_AARCH64:
    case RECORD.HYPERCALL_RISCV64:
    case RECORD.POSTED_AARCH64:
    case RECORD.POSTED_RISCV64: {
      const arch = code === RECORD.HYPERCALL_AARCH64 || code === RECORD.POSTED_AARCH64 ? 'aarch64' : 'riscv64';
      const conduit = CONDUITS[r.n()];
      if (conduit === undefined || (conduit === 'ecall') !== (arch === 'riscv64')) {
        throw new MalformedFrame('the conduit is none of the architecture');
      }
      const frame = { arch, conduit, pc: r.u(), registers: r.registers(HYPERCALL_REGISTERS[arch]) } as const;
      const posted = code === RECORD.POSTED_AARCH64 || code === RECORD.POSTED_RISCV64;
      return { kind: posted ? 'posted' : 'hypercall', vm, cpu, frame };
    }
    case RECORD.ASKED:
      return { kind: 'asked', vm, cpu, id: requestId(r.u()) };
    case RECORD.OFF:
      return { kind: 'off', vm, cpu };
    default:
      throw new MalformedFrame(`${code} is no record of a VM`);
  }
}

/** @throws MalformedFrame */
export function readHypervisorRecords(fields: readonly unknown[], from: number): readonly HypervisorRecord[] {
  const reader = new FieldReader(fields, from);
  const records: HypervisorRecord[] = [];
  while (!reader.done) records.push(readHypervisorRecord(reader));
  return records;
}

function readHypervisorRecord(r: FieldReader): HypervisorRecord {
  const code = r.n();
  const vm = vmId(r.n());
  // The second field is the CPU, or the dm_id for what concerns a device end.
  const second = r.n();
  const cpu = cpuId(second);
  switch (code) {
    case RECORD.RESUME:
      return { kind: 'resume', vm, cpu, register: r.n(), value: r.u(), pc: r.u() };
    case RECORD.FAULT:
      return { kind: 'fault', vm, cpu, cause: r.u(), address: r.u() };
    case RECORD.RESULT_AARCH64:
      return { kind: 'result', vm, cpu, pc: r.u(), registers: r.registers(A64) };
    case RECORD.RESULT_RISCV64:
      return { kind: 'result', vm, cpu, pc: r.u(), registers: r.registers(RV64) };
    case RECORD.IRQ:
      return { kind: 'irq', vm, cpu, irq: irqId(r.n()) };
    case RECORD.LEASE:
      return {
        kind: 'lease',
        vm,
        dm: second,
        id: requestId(r.u()),
        addr: r.u(),
        op: r.n(),
        value: r.u(),
        width: r.n(),
      };
    case RECORD.REVOKE:
      return { kind: 'revoke', vm, dm: second, id: requestId(r.u()) };
    case RECORD.CPU_ON:
      return { kind: 'cpu-on', vm, cpu, entry: r.u(), argument: r.u() };
    case RECORD.CPU_OFF:
      return { kind: 'cpu-off', vm, cpu, reason: r.s() };
    case RECORD.TIMER:
      return { kind: 'timer', vm, cpu, deadline: r.u() };
    default:
      throw new MalformedFrame(`${code} is no record of the hypervisor`);
  }
}
