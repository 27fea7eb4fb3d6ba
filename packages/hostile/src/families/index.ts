import type { DeviceCase } from '../device-cases/device-case.js';
import type { Family } from '../family.js';
import { BLOCK, BLOCK_CASES } from './block.js';
import { ENTROPY, NETWORK, UNKNOWN } from './others.js';

export { BLOCK, ENTROPY, NETWORK, UNKNOWN };

/** Kinds of devices, and the cases that are theirs alone: one table a family. */
const FAMILIES: readonly (readonly [Family, readonly DeviceCase[]])[] = [
  [BLOCK, BLOCK_CASES],
  [ENTROPY, []],
  [NETWORK, []],
];

/** The family of a device by its type (5), and its cases. */
export const familyOf = (deviceId: number): readonly [Family, readonly DeviceCase[]] =>
  FAMILIES.find(([{ deviceIds }]) => deviceIds.includes(deviceId)) ?? [UNKNOWN, []];

/** The cases that are those of one family alone. */
export const FAMILY_CASES: readonly DeviceCase[] = FAMILIES.flatMap(([, cases]) => cases);
