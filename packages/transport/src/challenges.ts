import { randomBytes } from 'node:crypto';
import { greetingDigest, isProof, NONCE_BYTES, OBSERVER, PROOF_BYTES, type Proof, proofKey } from '@remio/protocol';
import type { Greeting } from './greeting.js';
import type { HypervisorKeys } from './keys.js';

/** Greetings whose proof may be awaited; beyond, the oldest is forgotten. */
const OPEN_MAX = 256;
/** Bytes of a greeting whose proof is awaited: more than claims of every VM of the largest board take. */
const GREETING_BYTES_MAX = 1 << 18;

interface Open {
  readonly greeting: Greeting;
  readonly digest: Buffer;
  readonly nonce: Buffer;
}

/** The hypervisor's memory of whom it has asked for a proof. */
export class Challenges {
  /** What proofs are checked with, by name. */
  readonly #keys: ReadonlyMap<string, Buffer>;
  /** What the proof of a name that there is not is checked with: it takes as long, and is wrong. */
  readonly #nobody = randomBytes(PROOF_BYTES);
  /** By routing id; the oldest first. */
  readonly #open = new Map<string, Open>();

  constructor({ own, peers }: HypervisorKeys) {
    this.#keys = new Map([...peers].map(([name, key]) => [name, proofKey(own, key, 'hypervisor')]));
  }

  /** @returns the nonce that the peer is to prove over; undefined if the greeting is longer than any */
  ask(route: Buffer, greeting: Greeting, frame: Buffer): Buffer | undefined {
    if (frame.length > GREETING_BYTES_MAX) return undefined;
    const at = route.toString('latin1');
    this.#open.delete(at);
    const [oldest] = this.#open.keys();
    if (oldest !== undefined && this.#open.size >= OPEN_MAX) this.#open.delete(oldest);
    const nonce = randomBytes(NONCE_BYTES);
    this.#open.set(at, { greeting, digest: greetingDigest(frame), nonce });
    return nonce;
  }

  /**
   * Takes a peer's proofs; the nonce is used up by it, whatever they are worth.
   * @returns the greeting that is proven, with the names whose keys the peer has: none, if anything is wrong with any
   * proof; undefined if nothing was asked
   */
  answer(
    route: Buffer,
    proofs: readonly Proof[],
  ): { readonly greeting: Greeting; readonly proven: ReadonlySet<string> } | undefined {
    const at = route.toString('latin1');
    const open = this.#open.get(at);
    if (open === undefined) return undefined;
    this.#open.delete(at);
    const { greeting, digest, nonce } = open;
    const names = new Set(proofs.map(({ name }) => name));
    const right =
      names.size === proofs.length &&
      proofs.every(({ name, proof }) => isProof(this.#keys.get(name) ?? this.#nobody, nonce, digest, proof));
    return { greeting, proven: right ? names : new Set() };
  }
}

/** Whether somebody who has these keys may have what it asks for. */
export const mayHave = (vms: readonly string[], proven: ReadonlySet<string>): boolean =>
  vms.length === 0 ? proven.has(OBSERVER) : vms.every((vm) => proven.has(vm));
