import type { Refusal, VmKind, VmRecord } from '@remio/protocol';
import type { Peer } from './peer-table.js';

/** What the hypervisor decides and does about its peers. */
export interface ListenerHandler {
  /** Whether a peer may have what it claims; a refusal says why. */
  admit(vms: readonly string[], digest: string): Rejection | undefined;
  /**
   * The VMs that a peer gets which claims any of a kind; a refusal names the limit.
   * @param among those whose keys it has; absent: there are no keys
   */
  choose(kind: VmKind, among?: ReadonlySet<string>): readonly string[] | Rejection;
  onAttached(peer: Peer): void;
  /**
   * @param arrivedAt when they arrived, in nanoseconds on the host's monotonic clock
   * @param transitNs time on the way, if the peer said when it sent; 0 otherwise
   */
  onRecords(peer: Peer, records: readonly VmRecord[], arrivedAt: number, transitNs: number): void;
  /** Records that arrived caused some to be sent. @param turnNs time from the one to the other */
  onTurn?(turnNs: number): void;
  onReport(peer: Peer, vm: string, event: unknown): void;
  /** Answers a query of an observer or a VM's process. */
  onQuery(what: string, argument: unknown): unknown;
  /** The peer is gone, cut off or said goodbye; its VMs are free. */
  onLost(peer: Peer, reason: string): void;
  /**
   * A peer was turned away or misbehaved: for the log.
   * @param vms names that it claims, or has: whatever it said, cut to a size
   */
  onRefused(reason: string, vms: readonly string[]): void;
}

/** Why a peer does not get what it asks for. */
export interface Rejection {
  readonly code: Refusal;
  readonly reason: string;
}
