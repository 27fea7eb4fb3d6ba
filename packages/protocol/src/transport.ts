import type { HypervisorRecord, VmRecord } from './records.js';

/**
 * A host of VMs' end of its way to the hypervisor. Engines differ in what lies between the two ends: sockets, a call, or
 * the virtual time that the way takes. Records arrive in the order in which they were sent.
 */
export interface VmTransport {
  /** Takes a record for the hypervisor. It may wait for {@link flushSoon}. */
  send(record: VmRecord): void;
  /** Every runnable vCPU has run: what was sent may leave, as soon as nothing follows at once. */
  flushSoon(): void;
  /** Passes something on to whoever watches the platform. Plain data only. */
  report(vm: string, event: { readonly kind: string; readonly [field: string]: unknown }): void;
}

/** The hypervisor's end of its ways to the hosts of VMs: which one a record goes to depends on its VM. */
export interface HypervisorTransport {
  /** Takes a record for the host of its VM. It may wait for {@link flush}. */
  send(record: HypervisorRecord): void;
  /** What was sent leaves now. */
  flush(): void;
}
