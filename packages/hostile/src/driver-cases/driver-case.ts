import type { CaseId, HostileCase, Layout, Verdict } from '../catalogue.js';
import type { Lie, RingTrick } from './lie.js';

/** Something that a device may try on its driver (catalogue B). */
export interface DriverCase extends HostileCase {
  readonly lies: readonly Lie[];
  readonly layouts: readonly Layout[];
  /** Ring features without which it means nothing. */
  readonly ring: bigint;
  /** Device types on which it means something; absent: all. */
  readonly deviceIds?: readonly number[];
}

export const BOTH: readonly Layout[] = ['split', 'packed'];

/** The driver resets the device and goes on, or gives up on it. */
export const BROKEN: readonly Verdict[] = ['N', 'B'];
/** The driver does not take the device. */
export const REFUSED: readonly Verdict[] = ['B'];
/** Nothing comes of it. */
export const WORKS: readonly Verdict[] = ['C'];

/** What is known of a case before its lies. */
export type DriverCaseHead = Pick<DriverCase, 'title' | 'clause' | 'expected'> &
  Partial<Pick<DriverCase, 'layouts' | 'ring' | 'deviceIds'>>;

export const driverCase = (id: CaseId, head: DriverCaseHead, ...lies: readonly Lie[]): DriverCase => ({
  id,
  layouts: BOTH,
  ring: 0n,
  ...head,
  lies,
});

/** Tricks are played after so many requests: one is in the middle of its work. */
const AFTER = 2;

/** How often a trick is played by a device that does something useful in between. */
const AGAIN = 8;

/** A trick that is played once, and for ever: the driver gets over the one, and comes to an end with the other. */
export const ringTrick = (id: CaseId, trick: RingTrick, head: DriverCaseHead): readonly DriverCase[] => [
  driverCase(id, { ...head, title: `${head.title}, once` }, { trick, after: AFTER, times: 1 }),
  driverCase(id, { ...head, title: `${head.title}, again and again` }, { trick, after: AFTER, times: AGAIN }),
  driverCase(id, { ...head, title: `${head.title}, from the first request on` }, { trick, after: 0 }),
];
