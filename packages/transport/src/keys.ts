import type { CurveKeyPair } from '@remio/protocol';

/** Keys of the hypervisor's end: it lets nobody in but whoever has one of these. */
export interface HypervisorKeys {
  readonly own: CurveKeyPair;
  /** Public keys by the name of their VM, and that of observers under `OBSERVER`. */
  readonly peers: ReadonlyMap<string, string>;
}

/** Keys of a peer's end. */
export interface PeerKeys {
  /** The hypervisor's public key: the peer talks to nobody else. */
  readonly hypervisor: string;
  /** By name as in {@link HypervisorKeys.peers}; the connection is made with the first. */
  readonly own: ReadonlyMap<string, CurveKeyPair>;
}
