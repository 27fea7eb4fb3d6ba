import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from 'node:crypto';
import { assert } from '@remio/base';

/**
 * The two keys of one end of CURVE (ZeroMQ RFC 26), keys of X25519 (RFC 7748). Each has 32 bytes, written as 40
 * characters of Z85.
 */
export interface CurveKeyPair {
  readonly publicKey: string;
  readonly secretKey: string;
}

/** ZeroMQ RFC 32: five characters of base 85, the first the highest, stand for four bytes, the first the highest. */
const Z85 = '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#';
const GROUP_CHARACTERS = 5;
const GROUP_BYTES = 4;

/** Bytes of a key of X25519. */
const KEY_BYTES = 32;
const KEY_CHARACTERS = (KEY_BYTES / GROUP_BYTES) * GROUP_CHARACTERS;

/** What comes before the bytes of a key in its DER form (RFC 8410): a SubjectPublicKeyInfo, and a OneAsymmetricKey. */
const PUBLIC_DER = Buffer.from('302a300506032b656e032100', 'hex');
const SECRET_DER = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** Bytes of a key as text. */
export function encodeKey(bytes: Uint8Array): string {
  assert(bytes.length === KEY_BYTES, 'a key has 32 bytes');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let text = '';
  for (let at = 0; at < KEY_BYTES; at += GROUP_BYTES) {
    let value = view.getUint32(at);
    let group = '';
    for (let n = 0; n < GROUP_CHARACTERS; n += 1) {
      group = (Z85[value % Z85.length] ?? '') + group;
      value = Math.floor(value / Z85.length);
    }
    text += group;
  }
  return text;
}

/** The bytes of a key that was written as text; undefined if it is none. */
export function decodeKey(text: string): Buffer | undefined {
  if (text.length !== KEY_CHARACTERS) return undefined;
  const bytes = Buffer.alloc(KEY_BYTES);
  for (let group = 0; group < KEY_BYTES / GROUP_BYTES; group += 1) {
    let value = 0;
    for (let n = 0; n < GROUP_CHARACTERS; n += 1) {
      const digit = Z85.indexOf(text[group * GROUP_CHARACTERS + n] ?? ' ');
      if (digit < 0) return undefined;
      value = value * Z85.length + digit;
    }
    if (value > 0xffff_ffff) return undefined;
    bytes.writeUInt32BE(value, group * GROUP_BYTES);
  }
  return bytes;
}

/** @throws AssertionError if the text is no key: whoever has read it has checked it */
function keyObject(text: string, kind: 'public' | 'secret'): KeyObject {
  const bytes = decodeKey(text);
  assert(bytes !== undefined, 'a key has 40 characters of Z85');
  return kind === 'public'
    ? createPublicKey({ key: Buffer.concat([PUBLIC_DER, bytes]), format: 'der', type: 'spki' })
    : createPrivateKey({ key: Buffer.concat([SECRET_DER, bytes]), format: 'der', type: 'pkcs8' });
}

/** The public key that belongs to a secret one. */
export const publicKeyOf = (secretKey: string): string =>
  encodeKey(
    createPublicKey(keyObject(secretKey, 'secret')).export({ format: 'der', type: 'spki' }).subarray(PUBLIC_DER.length),
  );

/** X25519 of one's secret key and another's public one: only those two can compute it. @throws Error if the public key is of low order */
export const agree = (secretKey: string, publicKey: string): Buffer =>
  diffieHellman({ privateKey: keyObject(secretKey, 'secret'), publicKey: keyObject(publicKey, 'public') });

/** Any secret key: what it agrees on with a public key of low order is known to everybody, so OpenSSL refuses that. */
const PROBE = encodeKey(Buffer.alloc(KEY_BYTES, 1));

/** What is wrong with the text of a public key; undefined: nothing. */
export function publicKeyProblem(text: string): string | undefined {
  if (decodeKey(text) === undefined) {
    return `expected a public key of CURVE: ${KEY_CHARACTERS} characters of Z85, as \`remio keys\` prints it`;
  }
  try {
    agree(PROBE, text);
    return undefined;
  } catch {
    return 'this is no key that anybody can have (RFC 7748, section 6.1): make one with `remio keys`';
  }
}
