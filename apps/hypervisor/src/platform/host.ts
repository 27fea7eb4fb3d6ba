import type { CpuId, VmId } from '@remio/base';
import type { HypervisorRecord } from '@remio/protocol';
import type { CoreEffect, CoreEvent, CoreInput, RemioCore } from '../remio/index.js';

/** What a peer did that no hardware could do: it is cut off, and its VMs are marked lost. */
export interface Violation {
  readonly vm: VmId;
  readonly detail: string;
}

/** Something worth telling an operator; the shell logs it. */
export type PlatformEvent =
  | { readonly kind: 'core'; readonly event: CoreEvent }
  | { readonly kind: 'rule'; readonly rule: string; readonly cpu: CpuId }
  | { readonly kind: 'fault'; readonly vm: VmId; readonly cpu: CpuId; readonly reason: string }
  | { readonly kind: 'undecodable'; readonly cpu: CpuId; readonly reason: string }
  | { readonly kind: 'power'; readonly vm: VmId; readonly cpu: CpuId; readonly on: boolean };

/** A core to look at, after a step. */
export type SteppedCore = Pick<RemioCore, 'data' | 'handled'>;

/** What the shell gives to the platform. */
export interface PlatformHost {
  /** Takes what leaves for VM processes, in order. */
  send(record: HypervisorRecord): void;
  /** Whether requests are sent ahead of the ASKs that they answer. Pointless where a call costs no message. Default true. */
  readonly leases?: boolean;
  onEvent?(event: PlatformEvent): void;
  /** Sees every input of the core, its effects and the core after it, in order, before they are acted on; keeps none. */
  onStep?(input: CoreInput, effects: readonly CoreEffect[], core: SteppedCore): void;
}
