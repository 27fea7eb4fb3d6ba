import { Context, type Router, type SocketOptions } from 'zeromq';
import { Challenges } from './challenges.js';
import { Doorkeeper, ZAP_DOMAIN } from './doorkeeper.js';
import type { HypervisorKeys } from './keys.js';
import type { ListenerHandler } from './listener-handler.js';

/** What keys make of a ROUTER. */
export interface Door {
  readonly challenges: Challenges;
  readonly keeper: Doorkeeper;
  readonly options: SocketOptions<Router>;
}

/** Makes a door that only these keys open. */
export async function openDoor(keys: HypervisorKeys, handler: ListenerHandler): Promise<Door> {
  // A doorkeeper is that of its context.
  const context = new Context();
  const keeper = await Doorkeeper.of(context, keys.peers.values(), (reason) => handler.onRefused(reason, []));
  return {
    challenges: new Challenges(keys),
    keeper,
    options: {
      context,
      curveServer: true,
      curveSecretKey: keys.own.secretKey,
      zapDomain: ZAP_DOMAIN,
      zapEnforceDomain: true,
    },
  };
}

/** Why a connection did not even come to show its key. */
export const strangerProblem = (code: string): string =>
  code === 'ERR_ZMTP_MECHANISM_MISMATCH'
    ? 'a peer that uses no keys'
    : 'a peer that takes this hypervisor for another: the public key that it has for it is not this one\u2019s';
