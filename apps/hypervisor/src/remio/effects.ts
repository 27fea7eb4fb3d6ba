import type { CpuId, RequestId } from '@remio/base';
import type { RuleId } from './rules.js';
import type { Device } from './state.js';
import type { AccessResult, CoreEffect, CpuMessage, EventCode, FaultReason } from './types.js';

/** By CPU: an effect of one kind, made when it first left the core. */
type Known<Kind extends CoreEffect['kind']> = (Extract<CoreEffect, { readonly kind: Kind }> | undefined)[];

/**
 * Collects what leaves the core in a step. Effects are never changed; those that every access has, with nothing in them
 * that differs from the last one, are made once.
 */
export class Effects {
  #list: CoreEffect[] = [];
  readonly #pauses: Known<'pause'> = [];
  readonly #resumes: Known<'resume'> = [];
  readonly #paused: Known<'access'> = [];
  readonly #successes: Known<'return'> = [];
  readonly #irqs: Known<'irq'> = [];
  readonly #notifications: Known<'message'> = [];

  /** Starts a step, whose effects go into this list. */
  begin(list: CoreEffect[]): void {
    this.#list = list;
  }

  push(effect: CoreEffect): void {
    this.#list.push(effect);
  }

  event(level: 'fatal' | 'warning', cpu: CpuId, code: EventCode): void {
    this.push({ kind: 'event', event: { level, cpu, code } });
  }

  rule(rule: RuleId, cpu: CpuId): void {
    this.push({ kind: 'rule', rule, cpu });
  }

  access(cpu: CpuId, result: AccessResult): void {
    if (result !== 'paused') {
      this.push({ kind: 'access', cpu, result });
      return;
    }
    this.#paused[cpu] ??= { kind: 'access', cpu, result };
    this.push(this.#paused[cpu]);
  }

  pause(cpu: CpuId): void {
    this.#pauses[cpu] ??= { kind: 'pause', cpu };
    this.push(this.#pauses[cpu]);
  }

  resume(cpu: CpuId): void {
    this.#resumes[cpu] ??= { kind: 'resume', cpu };
    this.push(this.#resumes[cpu]);
  }

  irq(cpu: CpuId, irq: number): void {
    if (this.#irqs[cpu]?.irq !== irq) this.#irqs[cpu] = { kind: 'irq', cpu, irq };
    this.push(this.#irqs[cpu]);
  }

  /** A notification was queued on a CPU; gives the message. */
  notification(to: CpuId, irq: number): CpuMessage {
    let known = this.#notifications[to];
    if (known?.message.kind !== 'notify' || known.message.irq !== irq) {
      known = { kind: 'message', to, message: { kind: 'notify', irq } };
      this.#notifications[to] = known;
    }
    this.push(known);
    return known.message;
  }

  fault(cpu: CpuId, reason: FaultReason): void {
    this.push({ kind: 'fault', cpu, reason });
  }

  result(cpu: CpuId, ret: bigint, out?: readonly bigint[]): void {
    if (ret !== 0n || out !== undefined) {
      this.push({ kind: 'return', cpu, ret, out });
      return;
    }
    this.#successes[cpu] ??= { kind: 'return', cpu, ret, out };
    this.push(this.#successes[cpu]);
  }

  /** A request was asked for, or completed, by another way than a lease: the backend's runtime knows it no more. */
  revoked(device: Device, id: RequestId): void {
    const { backend } = device;
    if (backend !== undefined) this.push({ kind: 'revoked', id, backend: backend.vm, dm: backend.dm });
  }
}
