import type { VmId } from '@remio/base';
import type { HypervisorRecord, HypervisorTransport } from '@remio/protocol';
import type { Listener } from './listener.js';

/** The hypervisor's transport over ZeroMQ: a VM's records go to the session that has claimed it. */
export class SessionRoutes implements HypervisorTransport {
  /** By VM; undefined: no session has it. */
  readonly #sessions: (number | undefined)[] = [];
  /** Set once the endpoint is bound; nobody can have claimed a VM before. */
  listener: Listener | undefined;

  /** The session that has this VM. */
  sessionOf(vm: VmId): number | undefined {
    return this.#sessions[vm];
  }

  claim(vm: VmId, session: number): void {
    this.#sessions[vm] = session;
  }

  release(vm: VmId): void {
    this.#sessions[vm] = undefined;
  }

  /** Records that wait for the process of a VM. */
  waiting(vm: VmId): number {
    const session = this.#sessions[vm];
    return session === undefined ? 0 : (this.listener?.waiting(session) ?? 0);
  }

  send(record: HypervisorRecord): void {
    const session = this.#sessions[record.vm];
    if (session !== undefined) this.listener?.send(session, record);
  }

  flush(): void {
    this.listener?.flush();
  }
}
