/** What one device did since the platform started. Counts only; times are kept where time is known. */
export interface DeviceStats {
  /** Accesses that became requests (reads and writes of the frontend). */
  accesses: number;
  /** Requests that the backend completed. */
  completions: number;
  /** NOTIFY hypercalls: interrupts raised in the frontend. */
  notifications: number;
}

/** What one vCPU did since the platform started. */
export interface VcpuStats {
  traps: number;
  hypercalls: number;
  /** Interrupts handed to it. */
  interrupts: number;
}

/** What one VM did since the platform started. */
export interface VmStats {
  traps: number;
  hypercalls: number;
  /** IPC hypercalls that rang. */
  doorbells: number;
  /** Interrupts handed to its vCPUs. */
  interrupts: number;
  faults: number;
  /** Times that its process was lost. */
  losses: number;
  readonly vcpus: readonly VcpuStats[];
}

export const newDeviceStats = (): DeviceStats => ({
  accesses: 0,
  completions: 0,
  notifications: 0,
});

export const newVmStats = (vcpus: number): VmStats => ({
  traps: 0,
  hypercalls: 0,
  doorbells: 0,
  interrupts: 0,
  faults: 0,
  losses: 0,
  vcpus: Array.from({ length: vcpus }, () => ({ traps: 0, hypercalls: 0, interrupts: 0 })),
});
