import { featureSet, VIRTIO_F_IN_ORDER } from '@remio/virtio-spec';
import { BROKEN, type DriverCase, driverCase, ringTrick, WORKS } from './driver-case.js';

/** V1 to V11: what a device may do to rings and notifications (2.7, 2.8). */
export const RING_TRICKS: readonly DriverCase[] = [
  ...ringTrick('V1', 'id-beyond', {
    title: 'an id beyond the ring',
    clause: '2.7.8, 2.8.22',
    expected: BROKEN,
  }),
  ...ringTrick('V2', 'twice', { title: 'a request used twice', clause: '2.7.8, 2.8.22', expected: BROKEN }),
  ...ringTrick('V2', 'never-made', {
    title: 'a request used that was never made',
    clause: '2.7.8, 2.8.22',
    expected: BROKEN,
  }),
  // Cut to the room that there was; what says its own length may then be found wrong, and fail alone.
  driverCase(
    'V3',
    { title: 'more bytes written than there was room for', clause: '2.7.8.2, 2.8.4', expected: ['C', 'R', 'B'] },
    { trick: 'too-long', after: 0 },
  ),
  // Nobody can know that data is stale: what counts is that nothing beyond it is believed.
  driverCase(
    'V4',
    { title: 'requests used that were not served', clause: '2.7.8.3', expected: ['C', 'R', 'B'] },
    { trick: 'stale', after: 0 },
  ),
  ...ringTrick('V5', 'index-ahead', {
    title: 'a used index more than what is in flight ahead',
    clause: '2.7.8',
    expected: BROKEN,
    layouts: ['split'],
  }),
  ...ringTrick('V5', 'index-back', {
    title: 'a used index that goes back',
    clause: '2.7.8',
    expected: BROKEN,
    layouts: ['split'],
  }),
  ...ringTrick('V6', 'out-of-order', {
    title: 'a later request used before an earlier one, with IN_ORDER',
    clause: '2.7.9',
    expected: BROKEN,
    // In a packed ring, an element stands for all that came before it.
    layouts: ['split'],
    ring: featureSet(VIRTIO_F_IN_ORDER),
  }),
  driverCase(
    'V7',
    { title: 'descriptors overwritten', clause: '2.7.5.1, 2.8.13', expected: WORKS },
    { trick: 'rewrite', after: 0 },
  ),
  ...ringTrick('V8', 'never', { title: 'requests that never end', clause: '2.7.13', expected: BROKEN }),
  driverCase(
    'V9',
    { title: 'requests used without an interrupt', clause: '2.7.7', expected: WORKS },
    { trick: 'silent', after: 0 },
  ),
  driverCase(
    'V9',
    { title: 'requests used before the driver notifies', clause: '2.7.7', expected: WORKS },
    { eager: true },
  ),
  driverCase(
    'V10',
    { title: 'a storm of interrupts without a cause', clause: '2.7.7.1', expected: WORKS },
    { trick: 'storm', after: 0 },
  ),
  driverCase(
    'V10',
    { title: 'interrupts with InterruptStatus 0', clause: '4.2.3.4', expected: WORKS },
    { register: 'InterruptStatus', says: [0] },
  ),
  driverCase(
    'V11',
    { title: 'no notification wanted, and nothing done without one', clause: '2.7.10.1', expected: WORKS },
    // Each request waits until the driver looks after it: so many are enough to see that it does.
    { trick: 'no-kicks', after: 0, times: 100 },
  ),
];
