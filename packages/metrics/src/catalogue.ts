/** What a metric is to Prometheus. */
export interface MetricKind {
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
}

/** Both ends of a device, and its name. */
const DEVICE = ['device', 'backend', 'frontend'] as const;
/** An end of a device, as the process of its VM sees it. */
const END = ['vm', 'device'] as const;
const QUEUE = ['vm', 'device', 'queue'] as const;

/**
 * Every metric that a process of Remio may have. Names are those of OpenMetrics: base units in the name, `_total` for
 * what only grows. docs/operations.md, the dashboard and the alert rules name no other; a test holds them to it.
 */
export const METRICS = {
  // The hypervisor's process, by VM.
  remio_vm_attached: { type: 'gauge', help: '1 while a process runs the VM', labels: ['vm'] },
  remio_vm_restarts_total: { type: 'counter', help: 'Times that a process took the VM anew', labels: ['vm'] },
  remio_vm_losses_total: { type: 'counter', help: 'Times that the process of the VM was lost', labels: ['vm'] },
  remio_traps_total: { type: 'counter', help: 'Loads and stores of the VM that trapped', labels: ['vm'] },
  remio_hypercalls_total: {
    type: 'counter',
    help: 'Hypercalls of the VM by operation (ask, read, write, notify; psci, sbi; other) and result (the code, or handled)',
    labels: ['vm', 'op', 'result'],
  },
  remio_interrupts_total: { type: 'counter', help: 'Interrupts handed to vCPUs of the VM', labels: ['vm'] },
  remio_faults_total: {
    type: 'counter',
    help: 'Accesses of the VM that ended as a fault: a deadline, no window, no decoding',
    labels: ['vm'],
  },
  remio_records_waiting: {
    type: 'gauge',
    help: 'Records that wait in the hypervisor for the process of the VM',
    labels: ['vm'],
  },
  // The hypervisor's process, by device.
  remio_requests_total: { type: 'counter', help: 'Accesses that became requests to the backend', labels: DEVICE },
  remio_completions_total: { type: 'counter', help: 'Requests that the backend completed', labels: DEVICE },
  remio_notifications_total: {
    type: 'counter',
    help: 'Interrupts that the backend raised in the frontend',
    labels: DEVICE,
  },
  remio_requests_open: {
    type: 'gauge',
    help: 'Requests that wait for the backend (pending) or are with it (processing)',
    labels: [...DEVICE, 'state'],
  },
  remio_oldest_request_seconds: {
    type: 'gauge',
    help: 'For how long the oldest open request has paused its vCPU; 0: none is open',
    labels: DEVICE,
  },
  remio_deadline_seconds: {
    type: 'gauge',
    help: 'After which an unanswered access ends as a fault; absent: never',
    labels: DEVICE,
  },
  // The hypervisor's process as a whole.
  remio_rules_total: {
    type: 'counter',
    help: 'Refused or hostile calls and accesses, by the rule of docs/hardening.md',
    labels: ['rule'],
  },
  remio_core_events_total: { type: 'counter', help: 'Warnings and fatal events of the core', labels: ['code'] },
  remio_peers_refused_total: {
    type: 'counter',
    help: 'Processes that were turned away, for their keys or what they asked for, or cut off for what they sent',
    labels: [],
  },
  remio_frames_total: { type: 'counter', help: 'Frames of records on the wire', labels: ['direction'] },
  // Where the time of an access goes.
  remio_hop_seconds: {
    type: 'histogram',
    help: 'Latency by hop: vm_to_hypervisor, in_hypervisor, hypervisor_to_vm, in_vm, round_trip',
    labels: ['hop', 'vm'],
  },
  // Processes of VMs.
  remio_driver_up: { type: 'gauge', help: '1 while a driver has brought the device up and works', labels: END },
  remio_driver_failures_total: { type: 'counter', help: 'Drivers that ended with an error', labels: END },
  remio_device_serving: { type: 'gauge', help: '1 while the backend serves the device', labels: END },
  remio_device_needs_reset: { type: 'gauge', help: '1 while DEVICE_NEEDS_RESET is set', labels: END },
  remio_device_resets_total: { type: 'counter', help: 'Resets by the driver', labels: END },
  remio_device_model_total: {
    type: 'counter',
    help: 'What the device model counts by itself, errors among it',
    labels: [...END, 'counter'],
  },
  remio_queue_notifications_total: { type: 'counter', help: 'Notifications of the queue', labels: QUEUE },
  remio_queue_chains_total: { type: 'counter', help: 'Descriptor chains that the device took', labels: QUEUE },
  remio_queue_depth: { type: 'gauge', help: 'Descriptor chains that the device has', labels: QUEUE },
  remio_queue_read_bytes_total: {
    type: 'counter',
    help: 'Bytes of buffers that the driver filled and the device took',
    labels: QUEUE,
  },
  remio_queue_written_bytes_total: { type: 'counter', help: 'Bytes that the device wrote', labels: QUEUE },
  remio_queue_interrupts_total: { type: 'counter', help: 'Interrupts that the queue raised', labels: QUEUE },
  remio_queue_rejected_total: { type: 'counter', help: 'Chains against the rules, returned unserved', labels: QUEUE },
  remio_queue_latched_total: {
    type: 'counter',
    help: 'Times that the queue was latched: broken until its reset',
    labels: QUEUE,
  },
  // What programs of frontends found out.
  remio_verified_bytes_total: {
    type: 'counter',
    help: 'Bytes that were read back or echoed as they had been written or sent',
    labels: END,
  },
  remio_verified_rounds_total: { type: 'counter', help: 'Runs of a verifying driver that ended well', labels: END },
  remio_mismatches_total: {
    type: 'counter',
    help: 'Blocks that came back other than they had been written',
    labels: END,
  },
  remio_io_errors_total: {
    type: 'counter',
    help: 'Requests of a driver that failed, echoes that were lost',
    labels: END,
  },
  // Every process.
  remio_event_loop_lag_seconds: {
    type: 'gauge',
    help: 'How late the event loop ran what was due, when this was asked',
    labels: [],
  },
  remio_event_loop_busy_ratio: {
    type: 'gauge',
    help: 'Share of the time since the last scrape in which the event loop worked',
    labels: [],
  },
  process_cpu_seconds_total: { type: 'counter', help: 'CPU time of user and system', labels: [] },
  process_resident_memory_bytes: { type: 'gauge', help: 'Resident memory', labels: [] },
  process_heap_bytes: { type: 'gauge', help: 'Heap of JavaScript in use', labels: [] },
  process_start_time_seconds: { type: 'gauge', help: 'Start of the process since 1970', labels: [] },
} as const satisfies Readonly<Record<string, MetricKind>>;

export type MetricName = keyof typeof METRICS;

/** Metrics of one kind. */
export type MetricOf<T extends MetricKind['type']> = {
  readonly [N in MetricName]: (typeof METRICS)[N]['type'] extends T ? N : never;
}[MetricName];

/** What a sample of a metric must say of itself. */
export type LabelsOf<N extends MetricName> = Readonly<Record<(typeof METRICS)[N]['labels'][number], string>>;
