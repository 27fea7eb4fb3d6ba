import { DEVICE_ID_CONSOLE, DEVICE_ID_NETWORK, DEVICE_ID_VSOCK } from '@remio/virtio-spec';
import type { Layout } from '../catalogue.js';
import { CONTENT_LIES } from './content-lies.js';
import { BROKEN, type DriverCase, driverCase, WORKS } from './driver-case.js';
import { REGISTER_LIES } from './register-lies.js';
import { RING_TRICKS } from './ring-tricks.js';

export type { DriverCase };

/** V21 and V22: what becomes of the backend, and of accesses in its hands. */
const BACKEND_CASES: readonly DriverCase[] = [
  driverCase(
    'V21',
    { title: 'the device forgets everything, at work', clause: '2.1', expected: BROKEN },
    { trick: 'forget', after: 2, times: 1 },
  ),
  driverCase(
    'V21',
    { title: 'the backend ends with requests in flight, and begins anew', clause: '2.1', expected: BROKEN },
    { trick: 'crash', after: 2, times: 1 },
  ),
  driverCase(
    'V22',
    { title: 'an access completed that the backend was never given', clause: 'Remote I/O', expected: WORKS },
    { completes: 'foreign' },
  ),
  driverCase(
    'V22',
    { title: 'an access completed with the id of an earlier one', clause: 'Remote I/O', expected: WORKS },
    { completes: 'old' },
  ),
  driverCase(
    'V22',
    { title: 'an access completed twice', clause: 'Remote I/O', expected: WORKS },
    { completes: 'twice' },
  ),
];

/** Catalogue B for any driver. */
export const DRIVER_CASES: readonly DriverCase[] = [
  ...RING_TRICKS,
  ...REGISTER_LIES,
  ...CONTENT_LIES,
  ...BACKEND_CASES,
];

/** A device that tells the truth, on the same way: whatever a verdict says is the lie's doing. */
export const HONEST: DriverCase = driverCase('V12', {
  title: 'nothing: the device tells the truth',
  clause: '3.1.1',
  expected: WORKS,
});

/** Devices whose drivers send without waiting for an answer. */
const SENDERS: readonly number[] = [DEVICE_ID_NETWORK, DEVICE_ID_CONSOLE, DEVICE_ID_VSOCK];

/**
 * Catalogue B for the driver of a device, and what is right there. Whoever sends without waiting for an answer looks at
 * what was used only when it has no buffer left: it may come to its end before it sees that a ring is broken.
 */
export const driverCasesFor = (deviceId: number, layout: Layout): readonly DriverCase[] =>
  DRIVER_CASES.filter(
    ({ layouts, deviceIds }) => layouts.includes(layout) && deviceIds?.includes(deviceId) !== false,
  ).map((each) =>
    each.expected === BROKEN && SENDERS.includes(deviceId) ? { ...each, expected: [...BROKEN, 'C', 'R'] } : each,
  );
