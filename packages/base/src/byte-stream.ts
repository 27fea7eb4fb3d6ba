/** Told what happens to a {@link ByteStream}; never from within a call of it. */
export interface ByteStreamHandler {
  /** There are bytes to read, or the last ones were read: {@link ByteStream.ended}. */
  readable(): void;
  /** After a write that was not taken whole: there is room again. */
  writable(): void;
  /** The connection is gone both ways; what came before can still be read. */
  closed(): void;
}

/**
 * One connection to something outside: bytes both ways, in order, with back-pressure both ways. It keeps a bounded number
 * of bytes, whatever either side does.
 */
export interface ByteStream {
  /** Set by whoever uses the stream. */
  handler: ByteStreamHandler;
  /** Bytes that can be read now. */
  readonly available: number;
  /** The other side sends nothing more, and everything that it sent was read. */
  readonly ended: boolean;
  /** The connection is gone both ways. */
  readonly closed: boolean;
  /** What is written gets there: neither was it closed, nor was its end said. */
  readonly writable: boolean;
  /** Takes bytes that came, as many as there are and have room; 0: none now. */
  read(room: Uint8Array): number;
  /** Gives bytes, which are copied; returns how many were taken. The rest is given again after `writable`. */
  write(bytes: Uint8Array): number;
  /**
   * Says that nothing more will be written: the other side sees the end after what was written. A line that has no end,
   * such as a terminal, goes on.
   */
  end(): void;
  /** Nobody here knows when this connection is over, its other side has said its end: one that waits may take its place. */
  giveWay(): void;
  /** Ends the connection both ways, after everything that was written. */
  close(): void;
  /** Gives the connection up, both ways. */
  destroy(): void;
}

/** A stream's handler that does nothing. */
export const IGNORE: ByteStreamHandler = { readable() {}, writable() {}, closed() {} };

/** Told what a {@link StreamSource} brings. */
export interface StreamSourceHandler {
  /** A connection was made. The next comes only after this one was destroyed. */
  connected(stream: ByteStream): void;
  /** The terminal at the other end has this size now, in characters. */
  resized(cols: number, rows: number): void;
  /** No connection will come any more. */
  gone(): void;
}

/** Where a line leads outside: brings one connection after the other, one at a time. */
export interface StreamSource {
  /** Starts bringing connections; called once. */
  open(handler: StreamSourceHandler): void;
  /** Ends everything, the connection that is open too. */
  close(): Promise<void>;
}
