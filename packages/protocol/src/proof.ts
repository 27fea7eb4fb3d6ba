import { createHash, createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import { agree, type CurveKeyPair, decodeKey } from './curve-key.js';

/*
 * A ROUTER socket does not say under which key of CURVE a message came, so whoever claims a VM proves that it has the
 * VM's key. What it proves with is X25519 of that key and the hypervisor's, which nobody else can compute.
 */

/** Bytes of the nonce in CHALLENGE, and of a proof. */
export const NONCE_BYTES = 32;
export const PROOF_BYTES = 32;

/** Stands for the key of observers where others are under the name of their VM: no VM's name is empty. */
export const OBSERVER = '';

const PURPOSE = 'remio proof';

/** Sides of a proof: who has it, and who checks it. */
export type ProofSide = 'peer' | 'hypervisor';

/**
 * What a peer's proofs are made and checked with: HKDF (RFC 5869, SHA-256, no salt) of X25519, for this purpose and these
 * two keys alone.
 * @param side whose secret key `own` has
 */
export function proofKey(own: CurveKeyPair, other: string, side: ProofSide): Buffer {
  const [hypervisor, peer] = side === 'hypervisor' ? [own.publicKey, other] : [other, own.publicKey];
  const info = Buffer.concat([Buffer.from(PURPOSE), ...[hypervisor, peer].map((key) => decodeKey(key) ?? Buffer.of())]);
  return Buffer.from(hkdfSync('sha256', agree(own.secretKey, other), Buffer.of(), info, PROOF_BYTES));
}

/** What stands for a greeting in proofs: the digest of its frame, which has the protocol's version and all that is claimed. */
export const greetingDigest = (frame: Uint8Array): Buffer => createHash('sha256').update(frame).digest();

/** The proof: HMAC-SHA-256 over the hypervisor's nonce and the digest of the greeting that it answered. */
export const proofOf = (key: Uint8Array, nonce: Uint8Array, greeting: Uint8Array): Buffer =>
  createHmac('sha256', key).update(nonce).update(greeting).digest();

/** Whether a proof is right; how long that takes does not depend on what is wrong with it. */
export function isProof(key: Uint8Array, nonce: Uint8Array, greeting: Uint8Array, proof: Uint8Array): boolean {
  return proof.length === PROOF_BYTES && timingSafeEqual(proofOf(key, nonce, greeting), proof);
}
