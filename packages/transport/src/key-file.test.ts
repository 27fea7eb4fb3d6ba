import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  makeKeyPair,
  parseKeyFile,
  parsePublicKey,
  permissionProblem,
  readKeyFile,
  readPublicKey,
  renderKeyFile,
} from './index.js';

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'remio-key-file-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const pair = makeKeyPair();

function file(mode: number, text = renderKeyFile(pair)): string {
  const path = join(directory, `${mode}-${text.length}`);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

describe('a key file', () => {
  it('gives back the keys that were written', () => {
    expect(readKeyFile(file(0o600))).toEqual({ ok: true, value: pair });
    expect(readKeyFile(file(0o400))).toEqual({ ok: true, value: pair });
    expect(readPublicKey(file(0o644, renderKeyFile({ publicKey: pair.publicKey })))).toEqual({
      ok: true,
      value: pair.publicKey,
    });
  });

  it('is what pyzmq and czmq write, too', () => {
    const text = [
      '#   ****  Generated on 2026-11-26 10:00:00 by pyzmq  ****',
      '#   DO NOT PROVIDE THIS FILE TO OTHER USERS nor change its permissions.',
      '',
      'metadata',
      '    name = "guest0"',
      'curve',
      `    public-key = "${pair.publicKey}"`,
      `    secret-key = "${pair.secretKey}"`,
      '',
    ].join('\n');
    expect(parseKeyFile(text)).toEqual({ ok: true, value: pair });
  });

  it.each([0o644, 0o640, 0o604, 0o610, 0o622, 0o666])('that others may touch is refused: mode %o', (mode) => {
    expect(readKeyFile(file(mode))).toMatchObject({ ok: false, error: expect.stringMatching(/mode 06.*chmod 600/) });
  });

  const [USER, OTHER] = [1000, 1001];
  it.each([
    ['its owner', { uid: USER, mode: 0o600 }, USER, undefined],
    ['its owner, as others may', { uid: USER, mode: 0o640 }, USER, /mode 0640/],
    ['another user', { uid: OTHER, mode: 0o600 }, USER, /user 1001.*chown 1000/],
    ['root, for a user', { uid: USER, mode: 0o400 }, 0, undefined],
    ['root, as others may', { uid: USER, mode: 0o440 }, 0, /mode 0440/],
    ['a group to which root gives it', { uid: 0, mode: 0o440 }, USER, undefined],
    ['everybody to whom root gives it', { uid: 0, mode: 0o444 }, USER, /root.*mode 0444/],
    ['a group that may write it', { uid: 0, mode: 0o460 }, USER, /root.*mode 0460/],
  ])('may be read by, or not: %s', (_, stat, reader, problem) => {
    const found = permissionProblem(stat, reader);
    if (problem === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(problem);
  });

  it.each([
    ['the secret key is missing', renderKeyFile({ publicKey: pair.publicKey }), /no secret-key/],
    ['the keys are not a pair', renderKeyFile({ ...pair, publicKey: makeKeyPair().publicKey }), /does not belong/],
    ['it is something else', 'ELF', /no public-key/],
    ['it is a log', 'x'.repeat(5000), /no ZeroMQ certificate/],
  ])('is refused where %s', (_, text, why) => {
    expect(readKeyFile(file(0o600, text))).toMatchObject({ ok: false, error: expect.stringMatching(why) });
  });

  it('that is not there, or is no file, is refused, with its path', () => {
    for (const path of [join(directory, 'nowhere'), directory]) {
      expect(readKeyFile(path)).toMatchObject({ ok: false, error: expect.stringContaining(path) });
    }
  });

  it('of any text is keys or what is wrong, never an exception', () => {
    const rendered = renderKeyFile(pair);
    fc.assert(
      fc.property(fc.string(), fc.nat(rendered.length), (text, at) => {
        for (const mixed of [text, rendered.slice(0, at) + text + rendered.slice(at)]) {
          const parsed = parseKeyFile(mixed);
          if (parsed.ok) expect(parsed.value).toEqual(pair);
          expect(parsePublicKey(mixed).ok || !parsed.ok).toBe(true);
        }
      }),
    );
  });
});
