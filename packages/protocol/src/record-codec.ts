import { type Conduit, HYPERCALL_REGISTERS } from '@remio/arch';
import { cpuId, irqId, requestId, vmId } from '@remio/base';
import { type FrameReader, type FrameWriter, MalformedFrame } from './frame-bytes.js';
import type { HypervisorRecord, MemoryRecord, VmRecord } from './records.js';

/**
 * Records travel one after another: a code, the VM, the CPU (or the dm_id, for what concerns a device end), then the
 * record's own fields in a fixed order, without padding. docs/wire-protocol.md has the table.
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
  MEMORY_PLACE: 9,
  MEMORY: 10,
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
  MEMORY_LINK: 42,
} as const;

const A64 = HYPERCALL_REGISTERS.aarch64;

/** Conduits of AArch64 by number on the wire; RV64 has only ECALL. */
const CONDUITS: readonly Conduit[] = ['hvc', 'smc'];

/** Bytes that the text of a record may have. */
const TEXT_BYTES_MAX = 4096;

/** Bytes of the memory service that a record may carry. */
export const MEMORY_BYTES_MAX = 64 * 1024;

/** Bytes that any other record may have at most: the longest text, and more than the longest of fixed length. */
export const RECORD_BYTES_MAX = TEXT_BYTES_MAX + 128;

const head = (w: FrameWriter, code: number, vm: number, second: number): void => {
  w.u8(code);
  w.u32(vm);
  w.u32(second);
};

const registers = (w: FrameWriter, values: readonly bigint[]): void => {
  for (const value of values) w.u64(value);
};

/** Appends a record of a VM's process. */
export function writeVmRecord(w: FrameWriter, record: VmRecord): void {
  switch (record.kind) {
    case 'trap': {
      const { trap } = record;
      if (trap.arch === 'aarch64') {
        head(w, RECORD.TRAP_AARCH64, record.vm, record.cpu);
        w.u64(trap.esr);
        w.u64(trap.far);
        w.u64(trap.hpfar);
        w.u64(trap.pc);
      } else {
        head(w, RECORD.TRAP_RISCV64, record.vm, record.cpu);
        w.u64(trap.scause);
        w.u64(trap.stval);
        w.u64(trap.htval);
        w.u64(trap.htinst);
        w.u64(trap.sepc);
        w.u32(trap.instruction);
      }
      w.u64(trap.source);
      return;
    }
    case 'hypercall':
    case 'posted': {
      const { frame } = record;
      const posted = record.kind === 'posted';
      if (frame.arch === 'aarch64') {
        head(w, posted ? RECORD.POSTED_AARCH64 : RECORD.HYPERCALL_AARCH64, record.vm, record.cpu);
        w.u8(CONDUITS.indexOf(frame.conduit));
      } else {
        head(w, posted ? RECORD.POSTED_RISCV64 : RECORD.HYPERCALL_RISCV64, record.vm, record.cpu);
      }
      w.u64(frame.pc);
      registers(w, frame.registers);
      return;
    }
    case 'asked':
      head(w, RECORD.ASKED, record.vm, record.cpu);
      w.u64(record.id);
      return;
    case 'off':
      head(w, RECORD.OFF, record.vm, record.cpu);
      return;
    case 'memory-place':
      head(w, RECORD.MEMORY_PLACE, record.vm, record.dm);
      w.text(clipped(record.place));
      return;
    case 'memory':
      memory(w, record);
  }
}

/** Appends a record of the hypervisor. */
export function writeHypervisorRecord(w: FrameWriter, record: HypervisorRecord): void {
  switch (record.kind) {
    case 'resume':
      head(w, RECORD.RESUME, record.vm, record.cpu);
      w.u8(record.register);
      w.u64(record.value);
      w.u64(record.pc);
      return;
    case 'fault':
      head(w, RECORD.FAULT, record.vm, record.cpu);
      w.u64(record.cause);
      w.u64(record.address);
      return;
    case 'result':
      head(w, record.registers.length === A64 ? RECORD.RESULT_AARCH64 : RECORD.RESULT_RISCV64, record.vm, record.cpu);
      w.u64(record.pc);
      registers(w, record.registers);
      return;
    case 'irq':
      head(w, RECORD.IRQ, record.vm, record.cpu);
      w.u32(record.irq);
      return;
    case 'lease':
      head(w, RECORD.LEASE, record.vm, record.dm);
      w.u64(record.id);
      w.u64(record.addr);
      w.u8(record.op);
      w.u64(record.value);
      w.u8(record.width);
      return;
    case 'revoke':
      head(w, RECORD.REVOKE, record.vm, record.dm);
      w.u64(record.id);
      return;
    case 'cpu-on':
      head(w, RECORD.CPU_ON, record.vm, record.cpu);
      w.u64(record.entry);
      w.u64(record.argument);
      w.u32(record.incarnation);
      return;
    case 'cpu-off':
      head(w, RECORD.CPU_OFF, record.vm, record.cpu);
      w.text(clipped(record.reason));
      return;
    case 'timer':
      head(w, RECORD.TIMER, record.vm, record.cpu);
      w.u64(record.deadline);
      return;
    case 'memory-link':
      head(w, RECORD.MEMORY_LINK, record.vm, record.dm);
      w.u32(record.epoch);
      return;
    case 'memory':
      memory(w, record);
  }
}

function memory(w: FrameWriter, { vm, dm, epoch, bytes }: MemoryRecord): void {
  head(w, RECORD.MEMORY, vm, dm);
  w.u32(epoch);
  w.blob(bytes);
}

/** Bytes of the frame that a record takes, if they are many. */
export const bulkOf = (record: VmRecord | HypervisorRecord): number =>
  record.kind === 'memory' ? record.bytes.length : 0;

/** A reason is for people: its head will do. A character of JavaScript has at most 3 bytes of UTF-8. */
const clipped = (reason: string): string => reason.slice(0, Math.floor(TEXT_BYTES_MAX / 3));

/** As many as there are, at once: a list that grows is copied, and has room for more. */
const readA64Registers = (r: FrameReader): readonly bigint[] => [
  r.u64(),
  r.u64(),
  r.u64(),
  r.u64(),
  r.u64(),
  r.u64(),
  r.u64(),
];

const readRv64Registers = (r: FrameReader): readonly bigint[] => [...readA64Registers(r), r.u64()];

const conduit = (r: FrameReader): Conduit => {
  const name = CONDUITS[r.u8()];
  if (name === undefined) throw new MalformedFrame('the conduit is neither HVC nor SMC');
  return name;
};

/** @throws MalformedFrame */
export function readVmRecord(r: FrameReader): VmRecord {
  const code = r.u8();
  const vm = vmId(r.u32());
  const second = r.u32();
  const cpu = cpuId(second);
  switch (code) {
    case RECORD.TRAP_AARCH64:
      return {
        kind: 'trap',
        vm,
        cpu,
        trap: { arch: 'aarch64', esr: r.u64(), far: r.u64(), hpfar: r.u64(), pc: r.u64(), source: r.u64() },
      };
    case RECORD.TRAP_RISCV64:
      return {
        kind: 'trap',
        vm,
        cpu,
        trap: {
          arch: 'riscv64',
          scause: r.u64(),
          stval: r.u64(),
          htval: r.u64(),
          htinst: r.u64(),
          sepc: r.u64(),
          instruction: r.u32(),
          source: r.u64(),
        },
      };
    case RECORD.HYPERCALL_AARCH64:
    case RECORD.POSTED_AARCH64: {
      const kind = code === RECORD.POSTED_AARCH64 ? 'posted' : 'hypercall';
      const frame = { arch: 'aarch64', conduit: conduit(r), pc: r.u64(), registers: readA64Registers(r) } as const;
      return { kind, vm, cpu, frame };
    }
    case RECORD.HYPERCALL_RISCV64:
    case RECORD.POSTED_RISCV64: {
      const kind = code === RECORD.POSTED_RISCV64 ? 'posted' : 'hypercall';
      const frame = { arch: 'riscv64', conduit: 'ecall', pc: r.u64(), registers: readRv64Registers(r) } as const;
      return { kind, vm, cpu, frame };
    }
    case RECORD.ASKED:
      return { kind: 'asked', vm, cpu, id: requestId(r.u64()) };
    case RECORD.OFF:
      return { kind: 'off', vm, cpu };
    case RECORD.MEMORY_PLACE:
      return { kind: 'memory-place', vm, dm: second, place: r.text(TEXT_BYTES_MAX) };
    case RECORD.MEMORY:
      return { kind: 'memory', vm, dm: second, epoch: r.u32(), bytes: r.blob(MEMORY_BYTES_MAX) };
    default:
      throw new MalformedFrame(`${code} is no record of a VM`);
  }
}

/** @throws MalformedFrame */
export function readHypervisorRecord(r: FrameReader): HypervisorRecord {
  const code = r.u8();
  const vm = vmId(r.u32());
  const second = r.u32();
  const cpu = cpuId(second);
  switch (code) {
    case RECORD.RESUME:
      return { kind: 'resume', vm, cpu, register: r.u8(), value: r.u64(), pc: r.u64() };
    case RECORD.FAULT:
      return { kind: 'fault', vm, cpu, cause: r.u64(), address: r.u64() };
    case RECORD.RESULT_AARCH64:
      return { kind: 'result', vm, cpu, pc: r.u64(), registers: readA64Registers(r) };
    case RECORD.RESULT_RISCV64:
      return { kind: 'result', vm, cpu, pc: r.u64(), registers: readRv64Registers(r) };
    case RECORD.IRQ:
      return { kind: 'irq', vm, cpu, irq: irqId(r.u32()) };
    case RECORD.LEASE:
      return {
        kind: 'lease',
        vm,
        dm: second,
        id: requestId(r.u64()),
        addr: r.u64(),
        op: r.u8(),
        value: r.u64(),
        width: r.u8(),
      };
    case RECORD.REVOKE:
      return { kind: 'revoke', vm, dm: second, id: requestId(r.u64()) };
    case RECORD.CPU_ON:
      return { kind: 'cpu-on', vm, cpu, entry: r.u64(), argument: r.u64(), incarnation: r.u32() };
    case RECORD.CPU_OFF:
      return { kind: 'cpu-off', vm, cpu, reason: r.text(TEXT_BYTES_MAX) };
    case RECORD.MEMORY_LINK:
      return { kind: 'memory-link', vm, dm: second, epoch: r.u32() };
    case RECORD.MEMORY:
      return { kind: 'memory', vm, dm: second, epoch: r.u32(), bytes: r.blob(MEMORY_BYTES_MAX) };
    case RECORD.TIMER:
      return { kind: 'timer', vm, cpu, deadline: r.u64() };
    default:
      throw new MalformedFrame(`${code} is no record of the hypervisor`);
  }
}
