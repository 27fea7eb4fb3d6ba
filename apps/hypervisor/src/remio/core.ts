import {
  bindKey,
  type CpuId,
  cpuId,
  err,
  Fifo,
  guestAddress,
  ok,
  type Result,
  requestId,
  toU64,
  unreachable,
  type VmId,
} from '@remio/base';
import { mmio } from './access.js';
import { hypercall, leasedAsk } from './calls.js';
import { type PairedEnd, pairEnds } from './config-check.js';
import { Effects } from './effects.js';
import { nextDeadline, start, tick, vmAttached, vmLost } from './lifecycle.js';
import { deliver } from './messages.js';
import { type CoreState, restoreState, saveState } from './save.js';
import type { CoreData, Request, Side } from './state.js';
import type { CoreEffect, CoreEvent, CoreInput, Profile, RemioConfig } from './types.js';

/**
 * The Remio I/O core of the hypervisor: a deterministic state machine. {@link step} takes one input to its end and says
 * what leaves; it never waits, and never throws on anything that a guest can do.
 */
export class RemioCore {
  readonly #core: CoreData;
  readonly #effects = new Effects();
  #handled = 0;

  private constructor(core: CoreData) {
    this.#core = core;
  }

  /**
   * Checks a configuration and builds the machine; no VM is up yet.
   * @returns the fatal event with which the reference would stop, if the configuration is wrong
   */
  static create(config: RemioConfig, profile: Profile): Result<RemioCore, CoreEvent> {
    const data = build(config, profile);
    return data.ok ? ok(new RemioCore(data.value)) : data;
  }

  /**
   * Rebuilds a core from what {@link save} gave. The state is checked as hostile input would be.
   * @returns the first thing that is wrong with it
   */
  static restore(config: RemioConfig, profile: Profile, state: unknown): Result<RemioCore, string> {
    const data = build(config, profile);
    if (!data.ok) return err(`the configuration is refused: ${data.error.code}`);
    const restored = restoreState(data.value, state);
    return restored.ok ? ok(new RemioCore(data.value)) : restored;
  }

  get profile(): Profile {
    return this.#core.profile;
  }

  /** Messages that the last `deliver` took off the queue. */
  get handled(): number {
    return this.#handled;
  }

  /** What the core is made of; to read, not to change. */
  get data(): Readonly<CoreData> {
    return this.#core;
  }

  /**
   * Takes an input to its end.
   * @param effects what leaves is added here
   */
  step(input: CoreInput, effects: CoreEffect[] = []): readonly CoreEffect[] {
    const fx = this.#effects;
    const core = this.#core;
    fx.begin(effects);
    switch (input.kind) {
      case 'mmio':
        mmio(core, fx, input.cpu, input.access, input.now);
        break;
      case 'hypercall':
        hypercall(core, fx, input.cpu, input.call);
        break;
      case 'leased-ask':
        leasedAsk(core, fx, input.cpu, input.id);
        break;
      case 'deliver':
        this.#handled = deliver(core, fx, input.cpu, input.max ?? Number.POSITIVE_INFINITY);
        break;
      case 'start':
        start(core, fx, input.cpu);
        break;
      case 'vm-attached':
        vmAttached(core, input.vm, input.incarnation);
        break;
      case 'vm-lost':
        vmLost(core, fx, input.vm, input.incarnation);
        break;
      case 'tick':
        tick(core, fx, input.now);
        break;
      default:
        unreachable(input, 'core input');
    }
    return effects;
  }

  /** Requests of a VM's device end that nobody asked for yet, oldest first. */
  pendingOf(vm: VmId, dm: number): readonly Request[] {
    const device = this.#core.devices[this.#core.ends[vm]?.[dm] ?? -1];
    return [...(device?.pending ?? [])].flatMap((slot) => this.#core.requests[slot] ?? []);
  }

  /** When `tick` is due, in nanoseconds on the engine's clock: no access ends by its deadline before. */
  nextDeadline(): number | undefined {
    return nextDeadline(this.#core);
  }

  /** Everything that makes the core's future what it is, as plain data. */
  save(): CoreState {
    return saveState(this.#core);
  }
}

function build(config: RemioConfig, profile: Profile): Result<CoreData, CoreEvent> {
  const paired = pairEnds(config, profile);
  if (!paired.ok) return err({ level: 'fatal', cpu: cpuId(0), code: paired.code });
  const side = (paired: PairedEnd | undefined): Side | undefined => {
    if (paired === undefined) return undefined;
    // Not by a spread: V8 would give every side a hidden class of its own, and look up each of their fields at each access.
    const { vm, dm, end } = paired;
    return { vm, dm, end, cpu: -1, ready: false, notifyPending: false };
  };
  const owners = new Map<number, number>();
  config.vms.forEach((vm, id) => {
    for (const cpu of vm.cpus) owners.set(cpu, id);
  });
  return ok({
    profile,
    config,
    cpus: Array.from({ length: config.cpus }, (_, cpu) => ({
      vm: owners.get(cpu) ?? -1,
      active: owners.has(cpu),
      halted: false,
      waiting: undefined,
      queue: new Fifo(),
    })),
    devices: paired.devices.map(({ key, backend, frontend }, index) => ({
      index,
      key,
      backend: side(backend),
      frontend: side(frontend),
      ready: false,
      pending: new Fifo(),
    })),
    ends: paired.ends,
    windows: config.vms.map(({ devices }) =>
      devices.map(({ type, va, size }) => ({ frontend: type === 'frontend', from: va, to: toU64(va + size) })),
    ),
    requests: Array.from({ length: config.slots }, (_, slot) => freshRequest(slot)),
    ipcs: config.vms.map(({ ipcs = [] }) => ipcs.map((ipc) => ({ config: ipc, pending: new Map() }))),
    masters: (config.shmems ?? []).map(() => []),
    incarnations: config.vms.map(() => 0),
    order: 0,
    shortcuts: { free: 0, deadline: Number.POSITIVE_INFINITY, notifyPending: 0 },
  });
}

const freshRequest = (slot: number): Request => ({
  slot,
  generation: 0,
  id: requestId(BigInt(slot)),
  state: 'free',
  device: 0,
  key: bindKey(0n),
  cpu: cpuId(0) as CpuId,
  op: 0,
  addr: 0n,
  value: 0n,
  access: {
    address: guestAddress(0n),
    width: 4,
    write: false,
    register: 0,
    value: 0n,
    signExtend: false,
    registerWidth: 8,
  },
  order: 0,
  deadline: Number.POSITIVE_INFINITY,
});
