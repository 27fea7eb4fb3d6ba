import type { CpuId, RequestId } from '@remio/base';
import type { RuleId } from './rules.js';
import type { Device } from './state.js';
import type { AccessResult, CoreEffect, EventCode, FaultReason } from './types.js';

/** Collects what leaves the core in a step. */
export class Effects {
  list: CoreEffect[] = [];

  /** Starts a step: its effects are the caller's to keep. */
  clear(): void {
    this.list = [];
  }

  push(effect: CoreEffect): void {
    this.list.push(effect);
  }

  event(level: 'fatal' | 'warning', cpu: CpuId, code: EventCode): void {
    this.list.push({ kind: 'event', event: { level, cpu, code } });
  }

  rule(rule: RuleId, cpu: CpuId): void {
    this.list.push({ kind: 'rule', rule, cpu });
  }

  access(cpu: CpuId, result: AccessResult): void {
    this.list.push({ kind: 'access', cpu, result });
  }

  fault(cpu: CpuId, reason: FaultReason): void {
    this.list.push({ kind: 'fault', cpu, reason });
  }

  result(cpu: CpuId, ret: bigint, out?: readonly bigint[]): void {
    this.list.push({ kind: 'return', cpu, ret, out });
  }

  /** A request was asked for, or completed, by another way than a lease: the backend's runtime knows it no more. */
  revoked(device: Device, id: RequestId): void {
    const { backend } = device;
    if (backend !== undefined) this.list.push({ kind: 'revoked', id, backend: backend.vm, dm: backend.dm });
  }
}
