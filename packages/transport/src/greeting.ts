import { timingSafeEqual } from 'node:crypto';
import { type ControlMessage, PROTOCOL_VERSION } from '@remio/protocol';
import type { Rejection } from './listener-handler.js';

/** What a peer says first on a connection. */
export type Greeting = Extract<ControlMessage, { kind: 'hello' | 'claim' | 'resume' }>;
export type Hello = Extract<Greeting, { kind: 'hello' }>;
export type Claim = Extract<Greeting, { kind: 'claim' }>;
export type Resume = Extract<Greeting, { kind: 'resume' }>;

/** What whoever lacks a key is told: the same, whether the VMs are other peers' or there are none of these names. */
export const DENIED: Rejection = { code: 'denied', reason: 'its keys are not those of what it asks for' };

/** Of names that a peer says, so much is logged. */
const LOGGED_NAMES = 8;
const LOGGED_LENGTH = 64;
export const logged = (names: readonly string[]): readonly string[] =>
  names.slice(0, LOGGED_NAMES).map((name) => name.slice(0, LOGGED_LENGTH));

/** What a VM's process is answered that wants to know of others. */
export const OBSERVERS_ONLY = { error: 'only observers may ask, where there are keys' } as const;

/** A peer that chose its routing id could be followed by another of the same, who would be taken for it. */
export const NOT_CHOSEN: Rejection = { code: 'protocol', reason: 'leave the routing id to ZeroMQ' };

/** The VMs that a greeting names. */
export const namesIn = (greeting: Greeting): readonly string[] => (greeting.kind === 'hello' ? greeting.vms : []);

/** Who greets, for the log. */
export function whoGreets(greeting: Greeting): string {
  if (greeting.kind === 'claim') return `a ${greeting.of}`;
  if (greeting.kind === 'resume') return `whoever resumes session ${greeting.session}`;
  return greeting.vms.length === 0 ? 'an observer' : logged(greeting.vms).join(', ');
}

/** Why a peer of another version gets nothing. */
export function otherVersion({ version }: Hello | Claim): Rejection | undefined {
  if (version === PROTOCOL_VERSION) return undefined;
  return { code: 'version', reason: `protocol version ${version}; the hypervisor speaks ${PROTOCOL_VERSION}` };
}

/** Whether two texts are the same, in a time that does not tell where they differ. */
export const isSame = (known: string, said: string): boolean => {
  const [a, b] = [Buffer.from(known), Buffer.from(said)];
  return a.length === b.length && timingSafeEqual(a, b);
};
