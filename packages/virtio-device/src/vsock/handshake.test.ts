import { describe, expect, it } from 'vitest';
import { MemoryStream } from '../testing/memory-stream.js';
import { readConnect } from './handshake.js';

const text = (characters: string): Uint8Array => new TextEncoder().encode(characters);

/** What a program that says this in these pieces asks for: `waiting` while it has not said a line. */
function asked(...pieces: readonly string[]): { port: number | undefined | 'waiting'; stream: MemoryStream } {
  const stream = new MemoryStream();
  const result: { port: number | undefined | 'waiting'; stream: MemoryStream } = { port: 'waiting', stream };
  readConnect(stream, (port) => {
    result.port = port;
  });
  for (const piece of pieces) stream.arrive(text(piece));
  return result;
}

describe('the line that a program of the host starts with', () => {
  it.each([
    ['CONNECT 5000\n', 5000],
    ['CONNECT 0\n', 0],
    ['CONNECT 4294967295\n', 4294967295],
    ['CONNECT 0005000\n', 5000],
  ])('%j names a port', (line, port) => {
    expect(asked(line).port).toBe(port);
    expect(asked(...line).port).toBe(port);
  });

  it.each([
    '\n',
    'CONNECT\n',
    'CONNECT \n',
    'CONNECT 4294967296\n',
    'CONNECT 99999999999\n',
    'CONNECT -1\n',
    'CONNECT 0x10\n',
    'CONNECT 5000 \n',
    'CONNECT 5000\r\n',
    ' CONNECT 5000\n',
    'connect 5000\n',
    'CONNECT  5000\n',
    'CONNECT 5000\u0000\n',
    'GET / HTTP/1.1\r\n',
  ])('%j names none', (line) => {
    expect(asked(line).port).toBeUndefined();
  });

  it('takes not a byte more than the line: what follows is the connection\u2019s', () => {
    const { port, stream } = asked('CONNECT 1\nCONNECT 2\n');
    expect(port).toBe(1);
    expect(stream.available).toBe('CONNECT 2\n'.length);
    // What arrives now is somebody else's affair.
    expect(() => stream.arrive(text('more'))).not.toThrow();
  });

  it('is waited for, and given up when it gets too long or the program goes', () => {
    expect(asked('CONNECT 50').port).toBe('waiting');
    expect(asked('CONNECT '.repeat(10)).port).toBeUndefined();
    const ended = asked('CONNECT 50');
    ended.stream.finish();
    expect(ended.port).toBeUndefined();
    const gone = asked('CONNECT 50');
    gone.stream.drop();
    expect(gone.port).toBeUndefined();
  });
});
