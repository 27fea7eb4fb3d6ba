import { type ByteStream, IGNORE } from '@remio/base';

/** Bytes of a line `CONNECT 4294967295` and its end. */
const LINE_MAX = 32;
const NEWLINE = 0x0a;

/**
 * Reads the line `CONNECT PORT` that a program of the host starts with, and not a byte more.
 * @param done told the port; undefined: the line is none, or the connection ended before it
 */
export function readConnect(stream: ByteStream, done: (port: number | undefined) => void): void {
  const line: number[] = [];
  const one = new Uint8Array(1);
  const end = (port: number | undefined): void => {
    stream.handler = IGNORE;
    done(port);
  };
  const look = (): void => {
    while (stream.read(one) === 1) {
      const [byte = 0] = one;
      if (byte === NEWLINE) return end(portOf(String.fromCharCode(...line)));
      line.push(byte);
      if (line.length > LINE_MAX) return end(undefined);
    }
    if (stream.ended || stream.closed) end(undefined);
  };
  stream.handler = { readable: look, writable: () => {}, closed: look };
  look();
}

function portOf(line: string): number | undefined {
  const [, digits] = /^CONNECT (\d{1,10})$/.exec(line) ?? [];
  const port = Number(digits);
  return digits !== undefined && port < 2 ** 32 ? port : undefined;
}
