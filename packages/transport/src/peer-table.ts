import { assert } from '@remio/base';
import type { HypervisorRecord, Link } from '@remio/protocol';

/** A peer of the hypervisor: a process that runs VMs, or an observer. */
export interface Peer {
  readonly session: number;
  readonly vms: readonly string[];
}

/** What the hypervisor knows of a peer. */
export interface PeerState extends Peer {
  readonly link: Link<HypervisorRecord>;
  /** Whoever shows it may go on with the session on a new connection. */
  readonly token: string;
  /** Routing id of its connection, and the frame on its way there: ZeroMQ has copied it when `send` returns. */
  readonly parts: [Buffer, Buffer];
  /** Told of a frame that the present connection does not take. */
  onRefused: () => void;
  /** On the host's monotonic clock, in nanoseconds. */
  lastHeard: number;
  /** Since when it acknowledges nothing although its credit is used up; undefined: it does. */
  stalledSince: number | undefined;
  /** It lost its connection, and when this runs out, its VMs. */
  away: NodeJS.Timeout | undefined;
}

/** Bytes of a routing id that ZeroMQ chose: a zero, and a number. */
const CHOSEN_BYTES = 5;

/** Whether ZeroMQ chose a routing id: it gives each to one connection, and never again. */
export const isChosen = (route: Buffer): boolean => route.length === CHOSEN_BYTES && route[0] === 0;

/** A routing id as the key of a map: the number that ZeroMQ chose, or the bytes that the peer did. */
function keyOf(route: Buffer): number | string {
  if (!isChosen(route)) return route.toString('latin1');
  return (route[1] ?? 0) | ((route[2] ?? 0) << 8) | ((route[3] ?? 0) << 16) | ((route[4] ?? 0) << 24);
}

/** Peers by the routing id of their connection, and by session. */
export class PeerTable {
  readonly #byRoute = new Map<number | string, PeerState>();
  readonly #bySession = new Map<number, PeerState>();

  at(route: Buffer): PeerState | undefined {
    return this.#byRoute.get(keyOf(route));
  }

  get(session: number): PeerState | undefined {
    return this.#bySession.get(session);
  }

  add(peer: PeerState): void {
    this.#byRoute.set(keyOf(peer.parts[0]), peer);
    this.#bySession.set(peer.session, peer);
  }

  /** The peer has a new connection; its old routing id is nobody's any more. */
  move(peer: PeerState, route: Buffer): void {
    this.#byRoute.delete(keyOf(peer.parts[0]));
    peer.parts[0] = route;
    this.#byRoute.set(keyOf(route), peer);
  }

  /** @returns whether the peer was there */
  delete(peer: PeerState): boolean {
    this.#byRoute.delete(keyOf(peer.parts[0]));
    return this.#bySession.delete(peer.session);
  }

  /** All peers as they are now: whoever goes through them may drop some. */
  all(): readonly PeerState[] {
    assert(this.#byRoute.size === this.#bySession.size, 'every peer has one session and one routing id');
    return [...this.#bySession.values()];
  }
}
