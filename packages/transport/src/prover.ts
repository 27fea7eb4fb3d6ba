import { assert } from '@remio/base';
import { greetingDigest, OBSERVER, type Proof, proofKey, proofOf } from '@remio/protocol';
import type { Dealer, SocketOptions } from 'zeromq';
import type { PeerKeys } from './keys.js';

/** A peer's side of keys: the options of its sockets, and its proofs. */
export class Prover {
  /** The key that its connections are made with. */
  readonly publicKey: string;
  readonly options: SocketOptions<Dealer>;
  /** What it proves with, by name. */
  readonly #keys: ReadonlyMap<string, Buffer>;
  #greeting: Uint8Array = Buffer.of();
  #names: readonly string[] = [];

  /** @param keys one at least */
  constructor({ hypervisor, own }: PeerKeys) {
    const [first] = own.values();
    assert(first !== undefined, 'a peer that uses keys has one');
    this.publicKey = first.publicKey;
    this.options = {
      curveServerKey: hypervisor,
      curvePublicKey: first.publicKey,
      curveSecretKey: first.secretKey,
    };
    this.#keys = new Map([...own].map(([name, pair]) => [name, proofKey(pair, hypervisor, 'peer')]));
  }

  /**
   * The peer says this now, and will be asked to prove it.
   * @param vms what it asks for, an observer nothing; undefined: anything that it has the key of
   */
  greets(frame: Uint8Array, vms: readonly string[] | undefined): void {
    this.#greeting = greetingDigest(frame);
    this.#names = vms === undefined ? [...this.#keys.keys()] : vms.length === 0 ? [OBSERVER] : vms;
  }

  /** Proofs for what was said last, as far as there are keys. */
  prove(nonce: Uint8Array): readonly Proof[] {
    return this.#names.flatMap((name) => {
      const key = this.#keys.get(name);
      return key === undefined ? [] : [{ name, proof: proofOf(key, nonce, this.#greeting) }];
    });
  }
}
