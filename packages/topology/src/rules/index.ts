/** What a rule says, and why it does. docs/topology.md has the first, `remio explain` both. */
export interface Rule {
  /** What holds, in one sentence. */
  readonly says: string;
  /** What would happen otherwise. */
  readonly why: string;
}

/** Rules of the check, in the order in which a person meets them. */
export const RULES = {
  file: {
    says: 'The file is text of at most 8 MiB that can be read.',
    why: 'Something else was named by mistake: an image, a directory, a log. A topology of 4096 VMs has about 2 MiB.',
  },
  syntax: {
    says: 'The file is YAML.',
    why: 'What is no YAML has no meaning here. Keys that are there twice, aliases that lead to themselves, aliases of aliases that stand for more than any topology holds, and nesting without end count as such mistakes.',
  },
  schema: {
    says: 'Every field is one that the language has, with a value of its type.',
    why: 'A field with a slip of the pen would otherwise be ignored without a word. The JSON Schema next to the language lets editors say so while you type.',
  },
  board: {
    says: 'The board is one that is known, with options that it has, or a board file.',
    why: 'CPUs, RAM and the interrupt controller are those of the board. `remio boards` lists them; `board: ./my-board.yaml` names a file of yours.',
  },
  'board-cpu': {
    says: 'A board has CPUs, each with a hardware id of its own.',
    why: 'The hypervisor starts CPUs, and sends them interrupts, by hardware id: the affinities of MPIDR_EL1, or the hart id.',
  },
  'board-memory': {
    says: 'A board\u2019s RAM is made of whole pages, and neither ranges of RAM nor devices lie in one place.',
    why: 'The hypervisor maps pages. What lies under a device\u2019s registers cannot be RAM.',
  },
  'board-interrupt': {
    says: 'A board\u2019s interrupt controller is one of its architecture, and its interrupts are some that it has.',
    why: 'AArch64 boards have a GIC, RV64 boards a PLIC or AIA.',
  },
  'board-power': {
    says: 'A board stands by and powers down by a call that its architecture has.',
    why: 'PSCI is for AArch64, SBI for RV64; WFI is for both.',
  },
  'cpu-none': {
    says: 'Every VM has at least one CPU of the board.',
    why: 'A VM without a vCPU runs nothing.',
  },
  'cpu-unknown': {
    says: 'CPUs are those of the board.',
    why: 'A vCPU is pinned to a CPU; one that the board lacks would never start. Bao would wait for ever at its barrier.',
  },
  'cpu-taken': {
    says: 'A CPU runs one vCPU: it is listed once.',
    why: 'Bao partitions the board: there is no scheduler that could share a CPU between two vCPUs.',
  },
  'cpu-oversubscribed': {
    says: 'The VMs together want no more CPUs than the board has.',
    why: 'Every vCPU takes a CPU of its own. VMs that list their CPUs come first, the others get what is free.',
  },
  'shared-memory-unknown': {
    says: 'A device names a shared memory of the topology.',
    why: 'Queues and buffers lie there; without it the ends have nothing in common.',
  },
  'shared-memory-size': {
    says: 'A shared memory is a whole number of 4 KiB pages, at least one, and at most 2 GiB.',
    why: 'It is mapped into two VMs page by page. Bao maps what the shared memory has, not what an end asks for: a driver that counts on more stops its CPU at the first access beyond (D-37).',
  },
  'shared-memory-twice': {
    says: 'A shared memory belongs to one device.',
    why: 'Two drivers that take buffers from one memory, each on its own, write into each other\u2019s (D-44).',
  },
  alignment: {
    says: 'Memory and shared memory start, and lie in RAM, at 4 KiB pages.',
    why: 'A stage-2 translation maps pages.',
  },
  'address-limit': {
    says: 'A VM\u2019s addresses end below 2^48 (AArch64) or 2^50 (RV64).',
    why: 'No translation, and no syndrome of a trap, has bits for more.',
  },
  overlap: {
    says: 'Memory, shared memory, windows and the interrupt controller of a VM do not overlap.',
    why: 'A window under memory never traps, so the driver reads RAM instead of registers (D-39). Two mappings at one address fail when the VM is created (D-38).',
  },
  'phys-outside-ram': {
    says: 'What `phys` places lies in one range of the board\u2019s RAM.',
    why: 'Elsewhere there is nothing, or a device.',
  },
  'phys-overlap': {
    says: 'What `phys` places does not overlap.',
    why: 'Two VMs would see each other\u2019s memory, which no partition may allow.',
  },
  'ram-oversubscribed': {
    says: 'All memories together fit the board\u2019s RAM.',
    why: 'Bao finds no pages for the rest and stops. Here they are memory of the host, so this is a warning.',
  },
  'interrupt-range': {
    says: 'An interrupt is one of the board\u2019s interrupt controller.',
    why: 'The virtual controller ignores an id that it does not have, without a word (D-22): the driver waits for ever.',
  },
  'interrupt-private': {
    says: 'A device\u2019s interrupt is a shared one.',
    why: 'On a GIC, ids below 32 are each CPU\u2019s own: 27, say, is the virtual timer. On RV64, vCPUs here take 1 and 5 for their own software and timer interrupts.',
  },
  'interrupt-twice': {
    says: 'The devices and IPC events of a VM have interrupts of their own.',
    why: 'A pending interrupt absorbs the next with its id: the handler of one device would run for the other.',
  },
  'interrupt-reference': {
    says: 'Interrupts fit the eight bits of the reference\u2019s messages.',
    why: 'The reference carries an interrupt in a byte: 283 arrives as 27, the virtual timer (D-16). An error under `profile: reference`; `hardened` carries them whole.',
  },
  'bind-key-unpaired': {
    says: 'Under each bind key there is a frontend and a backend.',
    why: 'An end alone never becomes ready: its first access waits for ever. The reference compares totals only, and stops with a misleading message (D-33).',
  },
  'bind-key-doubled': {
    says: 'Under each bind key there is one frontend and one backend.',
    why: 'The key is all that pairs them: Bao refuses a duplicate at boot.',
  },
  'bind-key-reference': {
    says: 'Bind keys fit the eight bits of the reference\u2019s messages.',
    why: 'The reference\u2019s completions carry the key in a byte: with 256, the trap and ASK work, and the first completion stops the frontend\u2019s CPU (D-15). An error under `profile: reference`; `hardened` carries keys whole.',
  },
  'cpus-reference': {
    says: 'Under `profile: reference`, the board has no more CPUs than its messages have request ids.',
    why: 'Request ids are slots, one for each CPU, in a byte (D-17). `hardened` carries ids whole.',
  },
  'own-backend': {
    says: 'A VM does not serve a device to itself.',
    why: 'The vCPU that accesses the window is paused until the backend answers, which is itself. In the reference the device is never ready, and the first access spins for ever (D-08).',
  },
  'shmem-mismatch': {
    says: 'Both ends of a device have the same shared memory at the same address.',
    why: 'A driver hands out guest-physical addresses, and the device looks there: it has no other way to know what the frontend means. Bao refuses a difference at boot.',
  },
  'device-model': {
    says: 'A backend end names its device model; a frontend end names none.',
    why: 'The device is what the backend serves.',
  },
  driver: {
    says: 'Under the programs `drivers` and `dispatcher`, every frontend end names its driver.',
    why: 'Otherwise nobody would use the device.',
  },
  window: {
    says: 'A frontend end has a window of at least 0x200 bytes; a backend end has none.',
    why: 'The registers of virtio-mmio take 0x100 bytes, the device\u2019s configuration comes behind. An access next to a window stops the CPU in the reference (D-40).',
  },
  'windows-touch': {
    says: 'A window does not end where a later one starts.',
    why: 'The reference looks for the window of an address up to its end, and including it: the first byte of the later window, which holds MagicValue, goes to the wrong device (D-05). Listed the other way round, it is found first. An error under `profile: reference`.',
  },
  'queue-fit': {
    says: 'The virtqueues of a device fit the shared memory of its ends.',
    why: 'A driver that makes its queues as large as the device lets it finds no room, and gives up on the device. Buffers need room as well.',
  },
  image: {
    says: 'The image of a block device is a file, a multiple of 512 bytes, that can be read (and written unless read_only).',
    why: 'A disk has whole sectors.',
  },
  directory: {
    says: 'The directory of a file system device is one that can be read (and written unless read_only).',
    why: 'The device shares it.',
  },
  network: {
    says: 'A network device is at one switch or TAP interface; a switch joins devices of one VM, each with its own MAC address.',
    why: 'A switch lies in the memory of the process that serves its devices, and learns stations by their addresses.',
  },
  resume: {
    says: 'What resumes is the backend of a block device, in a memory that can be mapped, under `profile: hardened`.',
    why: 'A device that goes on where a lost process stopped does again what that one had begun and not answered. Reads, writes and flushes of a disk may be done twice; a frame, a byte of a console or a bus transfer may not. What is in flight is found again in the rings and beside them, by a process of the same host.',
  },
  vcpu: {
    says: 'What an end places on vCPUs are queues that its device has, and the vCPUs are of its VM.',
    why: 'A vCPU or a queue that is not there serves nothing.',
  },
  vsock: {
    says: 'Guests have CIDs of their own; a group joins socket devices of one VM, and guests connect to the host or within it.',
    why: 'Whoever connects names a guest by its CID. What guests of a group say to each other goes through the process that serves their devices.',
  },
  socket: {
    says: 'A Unix socket that is listened on has a path that the system takes, in a directory that can be written.',
    why: 'The system takes paths of 107 bytes, and `_PORT` may follow that of a socket device; what cannot be made is better known before anything runs.',
  },
  line: {
    says: 'Standard input and output, and every path that is listened on, linked or written to, are of one line.',
    why: 'Two lines would each get a part of what is typed.',
  },
  host: {
    says: 'A host runs VMs of the topology, each VM on one host at most, and either backends or frontends.',
    why: 'A host is a process. Those of backends have device models, and those of frontends drivers.',
  },
  keys: {
    says: 'Where there are keys, every VM has one, and nobody has that of another.',
    why: 'Whoever has the secret key that belongs to a VM\u2019s may run that VM, and nobody else may. With one key for two VMs, the process of the one could take the other, with the memory of its devices. `remio keys` makes them.',
  },
  module: {
    says: 'A module that the topology names exists.',
    why: 'Programs and device models of yours are loaded from there.',
  },
  program: {
    says: 'A built-in program is one that there is.',
    why: 'Otherwise the VM would run nothing.',
  },
  'ipc-size': {
    says: 'An IPC object maps no more than its shared memory has.',
    why: 'Bao cuts the rest off, with a warning on its console: what the guest expects there is not mapped. A warning under `profile: reference`, which does the same.',
  },
  'ipc-twice': {
    says: 'A VM has one IPC object on a shared memory.',
    why: 'A doorbell names the memory, and only the first object on it is rung. A warning under `profile: reference`.',
  },
  'ipc-peer': {
    says: 'A shared memory with IPC objects has one in at least two VMs, and is that of no device.',
    why: 'A doorbell rings in the other VMs that have the memory. Messages and virtqueues in one memory lie on top of each other. A warning.',
  },
  'vm-cycle': {
    says: 'VMs with one vCPU do not wait for each other in a circle.',
    why: 'A frontend\u2019s vCPU is paused until its backend answers. In a circle of VMs with one vCPU each, all can be paused at the same time, and then all are for ever (D-30). A warning: whether it happens depends on what they do.',
  },
} as const satisfies Readonly<Record<string, Rule>>;

export type RuleId = keyof typeof RULES;

export const isRule = (name: string): name is RuleId => Object.hasOwn(RULES, name);

/** What each rule says. */
export const TOPOLOGY_RULES = Object.fromEntries(Object.entries(RULES).map(([id, { says }]) => [id, says])) as Readonly<
  Record<RuleId, string>
>;
