/** Where something stands in a topology file; lines and columns from 1. */
export interface Place {
  readonly line: number;
  readonly column: number;
}

/** Something wrong with a topology. */
export interface Diagnostic {
  readonly severity: 'error' | 'warning';
  /** Id of the rule, such as `cpu-taken`. */
  readonly rule: RuleId;
  readonly file: string;
  readonly place: Place;
  /** Path in the topology, such as `vms.backend.remio_devs[0].interrupt`. */
  readonly path: string;
  /** What was wrong and what was expected. */
  readonly message: string;
  /** What to do. */
  readonly fix: string;
}

/** Rules of the check, with what each says. docs/topology.md explains them to users. */
export const TOPOLOGY_RULES = {
  syntax: 'The file is YAML.',
  schema: 'Every field is one that the language has, with a value of its type.',
  board: 'The board is one that is known, with options that it has.',
  'vm-cpus': 'Every VM has at least one CPU of the board.',
  'cpu-taken': 'A CPU runs one vCPU: no two VMs have the same.',
  'cpu-unknown': 'CPUs are those of the board.',
  'shared-memory-unknown': 'A device names a shared memory of the topology.',
  'shared-memory-size': 'A shared memory is a whole number of 4 KiB pages.',
  'shared-memory-twice': 'A shared memory belongs to one device: two would corrupt each other.',
  alignment: 'Memory and shared memory start at 4 KiB pages.',
  overlap: 'Memory, shared memory and windows of a VM do not overlap.',
  'interrupt-range': 'An interrupt is a shared one of the board\u2019s interrupt controller.',
  'interrupt-twice': 'The devices and IPC events of a VM have interrupts of their own.',
  'bind-key': 'Under each bind key there is one frontend and one backend, in different VMs.',
  'shmem-mismatch': 'Both ends of a device have the same shared memory at the same address.',
  'device-model': 'A backend end names its device model; a frontend end names none.',
  driver: 'Under the programs `drivers` and `dispatcher`, every frontend end names its driver.',
  window: 'A frontend end has a window of at least 0x200 bytes; a backend end has none.',
  image:
    'The image of a block device is a file, a multiple of 512 bytes, that can be read (and written unless read_only).',
  directory: 'The directory of a file system device is one that can be read (and written unless read_only).',
  network:
    'A network device is at one switch or TAP interface; a switch joins devices of one VM, each with its own MAC address.',
  vcpu: 'What an end places on vCPUs are queues that its device has, and the vCPUs are of its VM.',
  line: 'Standard input and output, and every path that is listened on, linked or written to, are of one line.',
  host: 'A host runs VMs of the topology, each VM on one host at most, and either backends or frontends.',
  module: 'A module that the topology names exists.',
  program: 'A built-in program is one that there is.',
  'ipc-size': 'An IPC object maps no more than its shared memory has.',
  'ipc-twice': 'A VM has one IPC object on a shared memory: others are never rung.',
  'ipc-peer': 'A shared memory with IPC objects has one in at least two VMs, and is that of no device.',
  'reference-limits': 'Under `profile: reference`, keys, interrupts and CPUs fit the eight bits of its messages.',
  'windows-touch': 'Under `profile: reference`, a window does not end where a later one starts.',
  'vm-cycle': 'VMs with one vCPU do not wait for each other in a circle.',
} as const;

export type RuleId = keyof typeof TOPOLOGY_RULES;

/** Shows diagnostics as a compiler does: the place, the line with a mark under it, the rule and the fix. */
export function renderDiagnostics(
  diagnostics: readonly (Omit<Diagnostic, 'rule'> & { readonly rule: string })[],
  source: string,
): string {
  const lines = source.split('\n');
  return diagnostics
    .map(({ severity, rule, file, place, path, message, fix }) => {
      const number = String(place.line);
      const margin = ' '.repeat(number.length);
      return [
        `${file}:${place.line}:${place.column}: ${severity}[${rule}]: ${message}`,
        `${margin} |`,
        `${number} | ${lines[place.line - 1] ?? ''}`,
        `${margin} | ${' '.repeat(Math.max(0, place.column - 1))}^ ${path}`,
        `${margin} = fix: ${fix}`,
      ].join('\n');
    })
    .join('\n\n');
}
