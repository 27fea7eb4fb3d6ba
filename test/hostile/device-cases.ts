import type { Lie } from '@remio/hostile';
import { STATUS_DEVICE_NEEDS_RESET, STATUS_FEATURES_OK } from '@remio/virtio-spec';
import type { HostileCase } from './catalogue.js';

/** What a driver makes of a device: it comes up, or is given up on for a reason (code and clause). */
export type ProbeVerdict = 'up' | `${string} ${string}`;

/** How a request ends; absent: none is made. */
export type RequestVerdict = 'ok' | 'io-error' | 'unsupported' | 'device-broken';

export interface DeviceCase extends HostileCase {
  readonly lies: readonly Lie[];
  readonly probe: ProbeVerdict;
  /** The outcome of a read of sector 0, and then of a flush. */
  readonly requests?: readonly RequestVerdict[];
  /** Status byte that the disk gives to every request. */
  readonly status?: number;
}

const UP = { probe: 'up', requests: ['ok', 'ok'] } as const;

const says = (
  register: keyof typeof import('@remio/virtio-spec').MMIO | number,
  ...values: readonly number[]
): Lie => ({
  register,
  says: values,
});

const CAPACITY = 0;

/** Sections of VirtIO 1.4; the control sample first: whatever the verdicts say is the lie's doing. */
export const DEVICE_CASES: readonly DeviceCase[] = [
  { id: 'V12', title: 'nothing: the device tells the truth', clause: '3.1.1', lies: [], ...UP },
  ...[0, 0x7472_6977, 0x7669_7274, 0xffff_ffff].map(
    (magic): DeviceCase => ({
      id: 'V12',
      title: `MagicValue 0x${magic.toString(16)}`,
      clause: '4.2.2.2',
      lies: [says('MagicValue', magic)],
      probe: 'no-device 4.2.2.2',
    }),
  ),
  ...[0, 1, 3, 0xffff_ffff].map(
    (version): DeviceCase => ({
      id: 'V12',
      title: `Version ${version}`,
      clause: '4.2.2.2',
      lies: [says('Version', version)],
      probe: 'no-device 4.2.2.2',
    }),
  ),
  ...[0, 1, 0xffff_ffff].map(
    (id): DeviceCase => ({
      id: 'V12',
      title: `DeviceID ${id}`,
      clause: '4.2.2.2',
      lies: [says('DeviceID', id)],
      probe: 'wrong-device 4.2.2.2',
    }),
  ),
  {
    id: 'V12',
    title: 'another DeviceID after the reset',
    clause: '4.2.2.2',
    lies: [says('DeviceID', 2, 1)],
    ...UP,
  },
  ...[0, 1, 2].map(
    (size): DeviceCase => ({
      id: 'V13',
      title: `QueueSizeMax ${size}: no request fits`,
      clause: '4.2.3.2',
      lies: [says('QueueSizeMax', size)],
      probe: 'queue 4.2.3.2',
    }),
  ),
  ...[3, 4, 5, 127, 129, 65_535, 0x8000_0000, 0xffff_ffff].map(
    (size): DeviceCase => ({
      id: 'V13',
      title: `QueueSizeMax ${size}: a queue of a size that both can have`,
      clause: '4.2.3.2',
      lies: [says('QueueSizeMax', size)],
      ...UP,
    }),
  ),
  {
    id: 'V13',
    title: 'a queue that is ready before it was set up',
    clause: '4.2.3.2',
    lies: [says('QueueReady', 1)],
    probe: 'queue 4.2.3.2',
  },
  {
    id: 'V14',
    title: 'FEATURES_OK does not stay',
    clause: '3.1.1',
    lies: [{ register: 'Status', clears: STATUS_FEATURES_OK }],
    probe: 'features 3.1.1',
  },
  {
    id: 'V14',
    title: 'no VERSION_1',
    clause: '6.1',
    // The upper half: bit 32 is its bit 0. The second read is that of the upper half.
    lies: [{ register: 'DeviceFeatures', clears: 1, from: 1 }],
    probe: 'features 6.1',
  },
  {
    id: 'V14',
    title: 'no ACCESS_PLATFORM, without which nothing is shared',
    clause: '6.1',
    lies: [{ register: 'DeviceFeatures', clears: 2, from: 1 }],
    probe: 'features 6.1',
  },
  {
    id: 'V14',
    title: 'no features at all',
    clause: '6.1',
    lies: [says('DeviceFeatures', 0)],
    probe: 'features 6.1',
  },
  {
    id: 'V14',
    title: 'every feature there is, and every one that there is not: the device does not accept them',
    clause: '3.1.1',
    lies: [says('DeviceFeatures', 0xffff_ffff)],
    probe: 'features 3.1.1',
  },
  {
    id: 'V15',
    title: 'the generation changes whenever it is read',
    clause: '2.5.1',
    lies: [{ register: 'ConfigGeneration', counts: true }],
    probe: 'config 2.5.1',
  },
  {
    id: 'V15',
    title: 'the generation changes a few times, then holds still',
    clause: '2.5.1',
    lies: [says('ConfigGeneration', 0, 1, 2, 3, 4, 5, 6, 7)],
    ...UP,
  },
  {
    id: 'V15',
    title: 'a capacity that is torn once: the generation says so',
    clause: '2.5.1',
    lies: [says('ConfigGeneration', 0, 1), says(CAPACITY + 4, 0xffff_ffff, 0)],
    ...UP,
  },
  {
    id: 'V16',
    title: 'DEVICE_NEEDS_RESET right after DRIVER_OK',
    clause: '2.1.2',
    lies: [{ register: 'Status', sets: STATUS_DEVICE_NEEDS_RESET, from: 1 }],
    probe: 'needs-reset 2.1.2',
  },
  {
    id: 'V17',
    title: 'a reset that never ends',
    clause: '2.4.2',
    lies: [{ register: 'Status', sets: 1 }],
    probe: 'reset-timeout 2.4.2',
  },
  {
    id: 'V17',
    title: 'a reset that never ends, all ones',
    clause: '2.4.2',
    lies: [says('Status', 0xffff_ffff)],
    probe: 'reset-timeout 2.4.2',
  },
  {
    id: 'V17',
    title: 'a reset that takes its time',
    clause: '2.4.2',
    lies: [{ register: 'Status', sets: 1, reads: 500 }],
    ...UP,
  },
  {
    id: 'V18',
    title: 'capacity 0: no request is made',
    clause: '5.2.6.1',
    lies: [says(CAPACITY, 0), says(CAPACITY + 4, 0)],
    probe: 'up',
    requests: ['io-error', 'ok'],
  },
  {
    id: 'V18',
    title: 'more bytes than a driver can count',
    clause: '5.2.4',
    lies: [says(CAPACITY + 4, 0x8000_0000)],
    probe: 'config 5.2.4',
  },
  ...(
    [
      [1, 'io-error'],
      [2, 'unsupported'],
      [3, 'io-error'],
      [0x80, 'io-error'],
      [0xff, 'io-error'],
    ] as const
  ).map(
    ([status, outcome]): DeviceCase => ({
      id: 'V18',
      title: `status byte ${status}`,
      clause: '5.2.6',
      lies: [],
      status,
      probe: 'up',
      requests: [outcome, outcome],
    }),
  ),
];
