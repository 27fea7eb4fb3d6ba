import type { DeviceCase } from '../device-cases/device-case.js';
import type { Family } from '../family.js';
import { BLOCK, BLOCK_CASES } from './block.js';
import { GPIO, GPIO_CASES, I2C, I2C_CASES } from './buses.js';
import { CONSOLE, CONSOLE_CASES } from './console.js';
import { FILES, FILES_CASES } from './files.js';
import { NETWORK, NETWORK_CASES } from './network.js';
import { ENTROPY, ENTROPY_CASES, UNKNOWN } from './others.js';
import { SOCKET, SOCKET_CASES } from './socket.js';

export { BLOCK, ENTROPY, NETWORK, UNKNOWN };

/** Kinds of devices, and the cases that are theirs alone: one table a family. */
const FAMILIES: readonly (readonly [Family, readonly DeviceCase[]])[] = [
  [BLOCK, BLOCK_CASES],
  [ENTROPY, ENTROPY_CASES],
  [NETWORK, NETWORK_CASES],
  [CONSOLE, CONSOLE_CASES],
  [SOCKET, SOCKET_CASES],
  [FILES, FILES_CASES],
  [I2C, I2C_CASES],
  [GPIO, GPIO_CASES],
];

/** The family of a device by its type (5), and its cases. */
export const familyOf = (deviceId: number): readonly [Family, readonly DeviceCase[]] =>
  FAMILIES.find(([{ deviceIds }]) => deviceIds.includes(deviceId)) ?? [UNKNOWN, []];

/** The cases that are those of one family alone. */
export const FAMILY_CASES: readonly DeviceCase[] = FAMILIES.flatMap(([, cases]) => cases);
