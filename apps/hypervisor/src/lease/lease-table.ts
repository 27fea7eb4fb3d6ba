import {
  type Arch,
  type BaoCall,
  HC_E_SUCCESS,
  HC_REMIO,
  type HypercallFrame,
  REMIO_HYP_ASK,
  REMIO_HYP_NOTIFY,
  REMIO_HYP_READ,
  REMIO_HYP_WRITE,
} from '@remio/arch';
import { type CpuId, type RequestId, U64_MAX, type VmId } from '@remio/base';
import type { HypervisorRecord, VmRecord } from '@remio/protocol';
import { decodeHypercall, encodeBaoResult } from '../abi/index.js';
import { askOutputs } from '../remio/calls.js';
import type { Profile } from '../remio/types.js';

/** What the hypervisor sent ahead. */
type Lease = Extract<HypervisorRecord, { kind: 'lease' }>;

/** How a hypercall goes on: answered here (and told to the hypervisor), or by the hypervisor. */
export type LeaseAnswer =
  | {
      readonly kind: 'answered';
      readonly registers: readonly bigint[];
      readonly pc: bigint;
      /** Tells the hypervisor what was done; in order with everything else that the VM says. */
      readonly posted: VmRecord;
    }
  | { readonly kind: 'forward' };

/** More ends than any VM has. */
const DM_MAX = 1n << 16n;

const FORWARD: LeaseAnswer = { kind: 'forward' };

/** What is known of one device end of the VM. */
interface End {
  readonly leases: Lease[];
  /** Requests that were handed out here and not completed yet: at most one for each CPU of the frontend. */
  readonly taken: Lease[];
  /** Forwarded calls after which the pending list may be another: no ASK is answered here until they are back. */
  barriers: number;
}

/**
 * The core's delegate in the process of a backend VM: requests that the hypervisor sent ahead (leases) are answered
 * from here, so that an ASK or a completion costs no message exchange. Registers, result codes and the order of requests
 * are those that the core would give: it executes the same calls, in the same order, a little later.
 *
 * Everything that a lease does not decide (an empty ASK, a wrong id or role, other services) goes to the hypervisor.
 * One answer can differ from the core's: a completion that crosses its request's end (by its deadline or, in the
 * reference, by its own frontend) is answered 0 although the request has ended. A result of 0 never meant more than
 * "message queued".
 */
export class LeaseTable {
  readonly #vm: VmId;
  readonly #arch: Arch;
  readonly #profile: Profile;
  /** By dm_id. */
  readonly #ends: (End | undefined)[] = [];
  /** By CPU: the end whose barrier its forwarded call holds. */
  readonly #holders = new Map<CpuId, End>();

  constructor(vm: VmId, arch: Arch, profile: Profile) {
    this.#vm = vm;
    this.#arch = arch;
    this.#profile = profile;
  }

  /** The VM is gone, and with it what it was told. */
  clear(): void {
    this.#ends.length = 0;
    this.#holders.clear();
  }

  /** Takes a request that was sent ahead. Its device is ready: both of its ends are up, and stay so. */
  lease(lease: Lease): void {
    const known = this.#ends[lease.dm];
    const end = known ?? { leases: [], taken: [], barriers: 0 };
    if (known === undefined) this.#ends[lease.dm] = end;
    end.leases.push(lease);
  }

  /** Forgets a request that somebody else asked for, or completed: what is said of it goes to the hypervisor. */
  revoke(dm: number, id: RequestId): void {
    const end = this.#ends[dm];
    if (end === undefined) return;
    for (const list of [end.leases, end.taken]) {
      const position = list.findIndex((lease) => lease.id === id);
      if (position >= 0) list.splice(position, 1);
    }
  }

  /** The hypervisor answered a forwarded call of this CPU. */
  answered(cpu: CpuId): void {
    const end = this.#holders.get(cpu);
    if (end === undefined) return;
    end.barriers -= 1;
    this.#holders.delete(cpu);
  }

  /** Answers a hypercall if leases decide it. */
  hypercall(cpu: CpuId, frame: HypercallFrame): LeaseAnswer {
    if (frame.arch !== this.#arch) return FORWARD;
    const decoded = decodeHypercall(frame);
    if (decoded.service !== 'bao' || decoded.call.nr !== HC_REMIO) return FORWARD;
    const { call } = decoded;
    const end = call.dm < DM_MAX ? this.#ends[Number(call.dm)] : undefined;
    if (end === undefined) return FORWARD;
    switch (call.op) {
      case REMIO_HYP_ASK:
        return this.#ask(cpu, frame, call, end);
      case REMIO_HYP_WRITE:
      case REMIO_HYP_READ:
        return this.#complete(cpu, frame, call, end);
      case REMIO_HYP_NOTIFY:
        return this.#post(cpu, frame);
      default:
        return FORWARD;
    }
  }

  #ask(cpu: CpuId, frame: HypercallFrame, call: BaoCall, end: End): LeaseAnswer {
    if (call.addr !== 0n || call.value !== 0n || end.barriers > 0) return FORWARD;
    const lease = end.leases.shift();
    if (lease === undefined) return FORWARD;
    end.taken.push(lease);
    const out = askOutputs(lease.addr, lease.op, lease.value, lease.width, lease.id, end.leases.length > 0);
    const posted: VmRecord = { kind: 'asked', vm: this.#vm, cpu, id: lease.id };
    const { registers, pc } = encodeBaoResult(frame, HC_E_SUCCESS, out);
    return { kind: 'answered', registers, pc, posted };
  }

  #complete(cpu: CpuId, frame: HypercallFrame, call: BaoCall, end: End): LeaseAnswer {
    if (call.id === U64_MAX && this.#profile === 'reference') {
      // The reference takes the oldest pending request off the list: which one that is, only it can say.
      end.barriers += 1;
      this.#holders.set(cpu, end);
      return FORWARD;
    }
    const position = end.taken.findIndex((lease) => lease.id === call.id);
    const lease = end.taken[position];
    if (lease === undefined || (this.#profile === 'hardened' && lease.op !== Number(call.op))) return FORWARD;
    if (position === 0) end.taken.shift();
    else end.taken.splice(position, 1);
    return this.#post(cpu, frame);
  }

  #post(cpu: CpuId, frame: HypercallFrame): LeaseAnswer {
    const posted: VmRecord = { kind: 'posted', vm: this.#vm, cpu, frame };
    const { registers, pc } = encodeBaoResult(frame, HC_E_SUCCESS, undefined);
    return { kind: 'answered', registers, pc, posted };
  }
}
