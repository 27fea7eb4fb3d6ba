import { type ByteStream, streamPair } from '@remio/base';

/** One side of a connection between guests. */
export interface VsockAddress {
  readonly cid: bigint;
  readonly port: number;
}

/** Takes a connection from another guest to a port of this one. */
export type VsockCalled = (
  from: VsockAddress,
  port: number,
  stream: ByteStream,
  done: (established: boolean) => void,
) => void;

/** Guests that can reach each other: the socket devices of one backend that belong together, by CID. */
export class VsockGroup {
  readonly #members = new Map<bigint, VsockCalled>();

  /** A device joins; CIDs are unique within a group. */
  join(cid: bigint, called: VsockCalled): void {
    this.#members.set(cid, called);
  }

  leave(cid: bigint): void {
    this.#members.delete(cid);
  }

  /**
   * Connects one guest to another.
   * @param done told the caller's end; undefined: nobody has that CID, or nobody listens there
   */
  connect(from: VsockAddress, to: VsockAddress, done: (stream: ByteStream | undefined) => void): void {
    const called = this.#members.get(to.cid);
    if (called === undefined || to.cid === from.cid) {
      done(undefined);
      return;
    }
    const [near, far] = streamPair();
    called(from, to.port, far, (established) => done(established ? near : undefined));
  }
}
