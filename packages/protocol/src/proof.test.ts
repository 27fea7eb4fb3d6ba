import { createHash, createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  agree,
  type CurveKeyPair,
  decodeKey,
  encodeKey,
  greetingDigest,
  isProof,
  NONCE_BYTES,
  PROOF_BYTES,
  proofKey,
  proofOf,
  publicKeyOf,
  publicKeyProblem,
} from './index.js';

// The keys of zmq_curve(7).
const SERVER = {
  publicKey: 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7',
  secretKey: 'JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6',
};
const CLIENT = {
  publicKey: 'Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID',
  secretKey: 'D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs',
};
const hex = (text: string): Buffer => Buffer.from(text, 'hex');
const keyBytes = fc.uint8Array({ minLength: 32, maxLength: 32 });
const pairs = keyBytes
  .map(encodeKey)
  .map((secretKey): CurveKeyPair => ({ secretKey, publicKey: publicKeyOf(secretKey) }));

describe('a key', () => {
  it('is 32 bytes as 40 characters of Z85, both ways', () => {
    expect(decodeKey(SERVER.secretKey)).toEqual(
      hex('8e0bdd697628b91d8f245587ee95c5b04d48963f79259877b49cd9063aead3b7'),
    );
    fc.assert(
      fc.property(keyBytes, (bytes) => {
        expect(decodeKey(encodeKey(bytes))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it.each([
    ['too short', 'rq:rM>}U?@Lns47E1%kR'],
    ['with a character that Z85 lacks', 'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf"'],
    ['with a group above 2^32-1', '#####>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7'],
    ['of low order', encodeKey(Buffer.alloc(32))],
    ['of low order', encodeKey(Buffer.alloc(32, 1).fill(0, 1))],
  ])('is none: %s', (_, text) => {
    expect(publicKeyProblem(text)).toBeTypeOf('string');
  });

  it('has a public one that follows from the secret one, as libzmq computes it', () => {
    expect(publicKeyOf(SERVER.secretKey)).toBe(SERVER.publicKey);
    expect(publicKeyOf(CLIENT.secretKey)).toBe(CLIENT.publicKey);
    expect(publicKeyProblem(SERVER.publicKey)).toBeUndefined();
  });

  it('agrees with another as RFC 7748, section 6.1, says', () => {
    const alice = encodeKey(hex('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a'));
    const bob = encodeKey(hex('5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb'));
    const shared = hex('4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742');
    expect(agree(alice, publicKeyOf(bob))).toEqual(shared);
    expect(agree(bob, publicKeyOf(alice))).toEqual(shared);
  });
});

describe('a proof', () => {
  const nonce = Buffer.alloc(NONCE_BYTES, 7);
  const greeting = greetingDigest(Buffer.from('HELLO'));
  const key = proofKey(CLIENT, SERVER.publicKey, 'peer');

  it('is what docs/wire-protocol.md says, from either side of the two keys', () => {
    const bytes = (text: string): Buffer => decodeKey(text) ?? Buffer.of();
    const info = Buffer.concat([Buffer.from('remio proof'), bytes(SERVER.publicKey), bytes(CLIENT.publicKey)]);
    // HKDF by hand: one block.
    const extracted = createHmac('sha256', Buffer.alloc(32)).update(agree(CLIENT.secretKey, SERVER.publicKey)).digest();
    const expanded = createHmac('sha256', extracted).update(info).update(Buffer.of(1)).digest();
    expect(key).toEqual(expanded);
    expect(proofKey(SERVER, CLIENT.publicKey, 'hypervisor')).toEqual(expanded);
    const said = createHash('sha256').update('HELLO').digest();
    expect(proofOf(key, nonce, greeting)).toEqual(createHmac('sha256', expanded).update(nonce).update(said).digest());
  });

  it('is right with its own keys, nonce and greeting, and with nothing else', () => {
    fc.assert(
      fc.property(pairs, pairs, keyBytes, fc.uint8Array(), (hypervisor, peer, once, said) => {
        const mine = proofKey(peer, hypervisor.publicKey, 'peer');
        const proof = proofOf(mine, once, greetingDigest(said));
        const theirs = proofKey(hypervisor, peer.publicKey, 'hypervisor');
        expect(isProof(theirs, once, greetingDigest(said), proof)).toBe(true);
        expect(isProof(theirs, nonce, greetingDigest(said), proof)).toBe(false);
        expect(isProof(theirs, once, greetingDigest(Buffer.concat([said, Buffer.of(0)])), proof)).toBe(false);
        expect(isProof(proofKey(hypervisor, CLIENT.publicKey, 'hypervisor'), once, greetingDigest(said), proof)).toBe(
          false,
        );
        // Whoever knows only the public keys cannot make it, nor can the other side's role.
        expect(proofKey(peer, hypervisor.publicKey, 'hypervisor')).not.toEqual(mine);
      }),
      { numRuns: 20 },
    );
  });

  it('is wrong with any bit changed, and with any other length', () => {
    const proof = proofOf(key, nonce, greeting);
    for (let bit = 0; bit < 8 * PROOF_BYTES; bit += 1) {
      const changed = Buffer.from(proof);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(isProof(key, nonce, greeting, changed)).toBe(false);
    }
    for (const length of [0, PROOF_BYTES - 1, PROOF_BYTES + 1]) {
      expect(isProof(key, nonce, greeting, Buffer.concat([proof, proof]).subarray(0, length))).toBe(false);
    }
  });
});
