import { assert, type GuestAddress, type VmId } from '@remio/base';
import { type GuestMemory, LocalMemory } from '@remio/guest-memory';
import type { MemoryRecord, VmRecord } from '@remio/protocol';
import { MemoryServer, type RemoteCounters, RemoteMemory } from '@remio/remote-memory';
import type { RemioDev, SharedMemory, Vm } from '@remio/topology';

/** What the memories of devices need of their process. */
export interface DeviceMemoriesHost {
  /** The memory behind a shared memory of the topology, where this process shares it. */
  shared(id: number): ArrayBuffer | SharedArrayBuffer;
  /**
   * Where this process has a shared memory: whoever names the same place shares it; the empty text: nobody can. Absent:
   * there is but one process, and the service stands for nothing.
   */
  readonly place?: (id: number) => string;
  send(record: VmRecord): void;
  flushSoon(): void;
  log(vm: Vm, line: string): void;
}

/** The memory of one device end, in this process. */
interface Port {
  readonly vm: Vm;
  readonly end: RemioDev;
  readonly place: string;
  /** Where this process has the memory: always at a frontend, at a backend if it shares it. */
  readonly near: LocalMemory | undefined;
  /** Frontend: stands for it. */
  readonly server: MemoryServer | undefined;
  /** Whether the other end may have the memory elsewhere. */
  readonly served: boolean;
  /** Backend: what it is seen through where it is not shared; made when it is needed, for it mirrors the memory. */
  remote: RemoteMemory | undefined;
  /** The pair of processes that the messages are of; 0: the memory is not reached through the service. */
  epoch: number;
}

/**
 * The memories of the devices of a process, however they are shared: a mapping, or the memory service. Which one, the
 * hypervisor says when both ends of a device have told where their memory is.
 */
export class DeviceMemories {
  readonly #host: DeviceMemoriesHost;
  readonly #memories: readonly SharedMemory[];
  /** [VM][dm] */
  readonly #ports: (Port | undefined)[][] = [];
  readonly #remotes: RemoteMemory[] = [];
  #due = false;

  constructor(memories: readonly SharedMemory[], host: DeviceMemoriesHost) {
    this.#memories = memories;
    this.#host = host;
  }

  /** Makes the memory of a device end; the answer gives it as it is now. */
  add(vm: Vm, end: RemioDev): () => GuestMemory {
    const { id, base, size } = end.shmem;
    const via = this.#memories[id]?.via;
    const place = via === 'service' ? '' : (this.#host.place?.(id) ?? 'here');
    const alone = this.#host.place !== undefined && place === '';
    const frontend = end.type === 'frontend';
    const near = alone ? (frontend ? privateMemory(base, size) : undefined) : this.#mapped(id, base, size);
    const served = this.#host.place !== undefined && via !== 'mapping';
    const port: Port = {
      vm,
      end,
      place,
      near,
      server: served && frontend && near !== undefined ? new MemoryServer(near) : undefined,
      served,
      remote: undefined,
      epoch: 0,
    };
    if (served && near === undefined) this.#remoteOf(port);
    const ports = this.#ports[vm.id] ?? [];
    ports[end.dm] = port;
    this.#ports[vm.id] = ports;
    return () => {
      const memory = port.remote !== undefined && (port.epoch !== 0 || near === undefined) ? port.remote : near;
      assert(memory !== undefined, 'a device end has its memory here or elsewhere');
      return memory;
    };
  }

  /** A VM begins to run: says where its memories are. */
  announce(vm: VmId): void {
    for (const port of this.#ports[vm] ?? []) {
      if (port === undefined || !port.served) continue;
      port.epoch = 0;
      port.remote?.close();
      this.#host.send({ kind: 'memory-place', vm, dm: port.end.dm, place: port.place });
    }
    this.#host.flushSoon();
  }

  /** The hypervisor says how a backend reaches its memory. */
  link(vm: VmId, dm: number, epoch: number): void {
    const port = this.#ports[vm]?.[dm];
    if (port === undefined || !port.served || port.end.type === 'frontend') return;
    if (epoch === 0) {
      port.remote?.close();
      return;
    }
    if (port.epoch === 0)
      this.#host.log(port.vm, `device ${port.end.name}: its memory is reached through the hypervisor`);
    port.epoch = epoch;
    this.#remoteOf(port).open();
  }

  /** A message of the other end. */
  receive({ vm, dm, epoch, bytes }: MemoryRecord): void {
    const port = this.#ports[vm]?.[dm];
    if (port === undefined) return;
    let wrong: string | undefined;
    if (port.server !== undefined) {
      if (port.epoch !== epoch) port.server.restart();
      port.epoch = epoch;
      wrong = port.server.handle(bytes, (reply) => this.#send(port, reply));
      this.#host.flushSoon();
    } else if (port.epoch === epoch) wrong = port.remote?.receive(bytes);
    if (wrong !== undefined) {
      this.#host.log(
        port.vm,
        `device ${port.end.name}: nothing more is taken from the process of its other end: ${wrong}`,
      );
    }
  }

  /** Something else is sent for a VM: what its devices wrote goes first. */
  settle(vm: VmId): void {
    if (this.#remotes.length === 0) return;
    for (const port of this.#ports[vm] ?? []) port?.remote?.settle();
  }

  /** What the devices of a VM cost in exchanges, of those whose memory is reached through the service. */
  costs(vm: VmId): readonly { readonly device: string; readonly counters: Readonly<RemoteCounters> }[] {
    return (this.#ports[vm] ?? []).flatMap((port) =>
      port?.remote === undefined || port.epoch === 0
        ? []
        : [{ device: port.end.name, counters: { ...port.remote.counters } }],
    );
  }

  #mapped(id: number, base: GuestAddress, size: number): LocalMemory {
    const buffer = this.#host.shared(id);
    assert(buffer.byteLength === size, 'both ends of a device map the whole shared memory');
    return new LocalMemory(base, buffer);
  }

  #remoteOf(port: Port): RemoteMemory {
    if (port.remote !== undefined) return port.remote;
    const { base, size } = port.end.shmem;
    const send = (bytes: Uint8Array): void => this.#send(port, bytes);
    const remote = new RemoteMemory(base, size, { due: () => this.#flushSoon(), send });
    this.#remotes.push(remote);
    port.remote = remote;
    return remote;
  }

  #send({ vm, end, epoch }: Port, bytes: Uint8Array): void {
    this.#host.send({ kind: 'memory', vm: vm.id, dm: end.dm, epoch, bytes });
  }

  /** When the step is over, and every step that follows from it at once. */
  #flushSoon(): void {
    if (this.#due) return;
    this.#due = true;
    queueMicrotask(() => {
      this.#due = false;
      for (const remote of this.#remotes) remote.flush();
      this.#host.flushSoon();
    });
  }
}

const privateMemory = (base: GuestAddress, size: number): LocalMemory => new LocalMemory(base, new ArrayBuffer(size));
