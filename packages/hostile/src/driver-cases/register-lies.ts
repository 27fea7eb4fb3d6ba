import { type MMIO, STATUS_DEVICE_NEEDS_RESET, STATUS_FEATURES_OK } from '@remio/virtio-spec';
import { BROKEN, type DriverCase, driverCase, REFUSED, WORKS } from './driver-case.js';
import type { Lie } from './lie.js';

const says = (register: keyof typeof MMIO | number, ...values: readonly number[]): Lie => ({ register, says: values });
const hex = (value: number): string => `0x${value.toString(16)}`;

/** V12 to V17: what a device may say of itself (3.1.1, 4.2). */
export const REGISTER_LIES: readonly DriverCase[] = [
  ...[0, 0x7472_6977, 0xffff_ffff].map((magic) =>
    driverCase(
      'V12',
      { title: `MagicValue ${hex(magic)}`, clause: '4.2.2.2', expected: REFUSED },
      says('MagicValue', magic),
    ),
  ),
  ...[0, 1, 3].map((version) =>
    driverCase('V12', { title: `Version ${version}`, clause: '4.2.2.2', expected: REFUSED }, says('Version', version)),
  ),
  ...[0, 0xffff_ffff].map((id) =>
    driverCase('V12', { title: `DeviceID ${hex(id)}`, clause: '4.2.2.2', expected: REFUSED }, says('DeviceID', id)),
  ),
  driverCase(
    'V12',
    { title: 'another DeviceID after a reset', clause: '4.2.2.2', expected: BROKEN },
    { register: 'DeviceID', sets: 0x4000, from: 1 },
    { trick: 'needs-reset', after: 2, times: 1 },
  ),
  driverCase('V13', { title: 'QueueSizeMax 0', clause: '4.2.3.2', expected: REFUSED }, says('QueueSizeMax', 0)),
  ...[1, 3, 0xffff, 0x8000_0000, 0xffff_ffff].map((size) =>
    driverCase(
      'V13',
      { title: `QueueSizeMax ${hex(size)}`, clause: '4.2.3.2', expected: ['C', 'B'] },
      says('QueueSizeMax', size),
    ),
  ),
  driverCase(
    'V13',
    { title: 'a queue that is ready before it was set up', clause: '4.2.3.2', expected: ['C', 'B'] },
    says('QueueReady', 1),
  ),
  driverCase(
    'V14',
    { title: 'FEATURES_OK does not stay', clause: '3.1.1', expected: REFUSED },
    { register: 'Status', clears: STATUS_FEATURES_OK },
  ),
  driverCase(
    'V14',
    { title: 'no VERSION_1', clause: '6.1', expected: REFUSED },
    // The upper half: bit 32 is its bit 0. The second read is that of the upper half.
    { register: 'DeviceFeatures', clears: 1, from: 1 },
  ),
  driverCase('V14', { title: 'no features at all', clause: '6.1', expected: REFUSED }, says('DeviceFeatures', 0)),
  driverCase(
    'V14',
    { title: 'every feature there is, which the device then does not accept', clause: '3.1.1', expected: ['B', 'C'] },
    says('DeviceFeatures', 0xffff_ffff),
  ),
  driverCase(
    'V15',
    { title: 'a generation that changes whenever it is read', clause: '2.5.1', expected: REFUSED },
    { register: 'ConfigGeneration', counts: true },
  ),
  driverCase(
    'V15',
    { title: 'a generation that changes a few times', clause: '2.5.1', expected: WORKS },
    says('ConfigGeneration', 0, 1, 2, 3, 4, 5, 6, 7),
  ),
  driverCase(
    'V15',
    { title: 'configuration that changes without its generation', clause: '2.5.1', expected: ['C', 'R', 'B'] },
    { register: 0, sets: 0x10, reads: 1 },
  ),
  driverCase(
    'V16',
    { title: 'DEVICE_NEEDS_RESET right after DRIVER_OK', clause: '2.1.2', expected: BROKEN },
    { register: 'Status', sets: STATUS_DEVICE_NEEDS_RESET, from: 1 },
  ),
  driverCase(
    'V16',
    { title: 'DEVICE_NEEDS_RESET at work, once', clause: '2.1.2', expected: BROKEN },
    { trick: 'needs-reset', after: 2, times: 1 },
  ),
  driverCase(
    'V16',
    { title: 'DEVICE_NEEDS_RESET at work, again and again', clause: '2.1.2', expected: BROKEN },
    { trick: 'needs-reset', after: 1, times: 8 },
  ),
  ...[5, 12, 20, 28, 36, 44].map((access) =>
    driverCase(
      'V16',
      {
        title: `DEVICE_NEEDS_RESET from access ${access} on, also after each reset`,
        clause: '2.1.1',
        expected: ['C', 'N', 'B'],
      },
      { needsResetAfter: access },
    ),
  ),
  driverCase(
    'V17',
    { title: 'a reset that never ends', clause: '2.4.2', expected: REFUSED },
    { register: 'Status', sets: 1 },
  ),
  driverCase(
    'V17',
    { title: 'a reset that takes its time', clause: '2.4.2', expected: WORKS },
    { register: 'Status', sets: 1, reads: 500 },
  ),
];
