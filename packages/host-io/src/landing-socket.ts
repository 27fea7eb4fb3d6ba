import { Socket } from 'node:net';
import { assert } from '@remio/base';

/** Where the bytes of a connection go. */
export interface Landing {
  /** Room for the next bytes, at least one; asked for after what came before was {@link landed}. */
  room(): Uint8Array;
  /**
   * Bytes were put at the start of the room.
   * @returns whether reading goes on; if not, it does when the socket is resumed
   */
  landed(bytes: number): boolean;
}

/**
 * Takes a connection over so that what arrives is read straight to where its owner wants it, without a buffer of Node's
 * in between. Node offers that (`onread`) for sockets that it makes; one that a server accepted is made anew around its
 * handle.
 * @param accepted a socket of a server with `pauseOnConnect`; not to be used any more
 */
export function landSocket(accepted: Socket, landing: Landing): Socket {
  const inner = accepted as unknown as { _handle: object | null };
  const handle = inner._handle;
  assert(handle !== null && typeof handle === 'object', 'an accepted socket has a handle');
  inner._handle = null;
  // Without a handle this only tells the server that it has one connection less to wait for when it closes.
  accepted.destroy();
  const options = {
    handle,
    allowHalfOpen: true,
    onread: { buffer: () => landing.room(), callback: (bytes: number) => landing.landed(bytes) },
  };
  return new Socket(options);
}
