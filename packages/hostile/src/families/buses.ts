import {
  DEVICE_ID_GPIO,
  DEVICE_ID_I2C,
  featureSet,
  GPIO_EVENTQ,
  GPIO_REQUEST,
  GPIO_REQUESTQ,
  GPIO_RESPONSE_SIZE,
  I2C_OUT_HEADER,
  I2C_REQUESTQ,
  I2C_STATUS_SIZE,
  structBytes,
  VIRTIO_GPIO_F_IRQ,
  VIRTIO_GPIO_MSG_GET_DIRECTION,
  VIRTIO_GPIO_MSG_SET_IRQ_TYPE,
  VIRTIO_GPIO_STATUS_OK,
  VIRTIO_I2C_F_ZERO_LENGTH_REQUEST,
  VIRTIO_I2C_FLAGS_M_RD,
} from '@remio/virtio-spec';
import { type DeviceCase, featureWithout, refusedRequest, requestOn } from '../device-cases/device-case.js';
import type { Family } from '../family.js';

const segment = (address: number, flags: number): Uint8Array =>
  structBytes(I2C_OUT_HEADER, { addr: address << 1, flags });

export const I2C: Family = {
  name: 'I2C adapter',
  deviceIds: [DEVICE_ID_I2C],
  features: featureSet(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST),
  requestQueues: () => [I2C_REQUESTQ],
  // A write of nothing: what a scan of the bus does. Which chips there are, nobody knows.
  request: () => ({
    readable: [segment(0x50, 0)],
    writable: [I2C_STATUS_SIZE],
    good: (written) => written === I2C_STATUS_SIZE,
  }),
  judges: false,
};

const onBus = (title: string, header: Uint8Array, room: number): DeviceCase =>
  refusedRequest({ id: 'A42', title: `I2C: ${title}`, clause: '5.16.6' }, (make) => [
    make.bytes(header),
    ...(room === 0 ? [] : [make.room(room)]),
  ]);

/** The like of A42: transactions that are none (5.16.6). */
export const I2C_CASES: readonly DeviceCase[] = [
  featureWithout('I2C: without ZERO_LENGTH_REQUEST', '5.16.6.4', 0n, featureSet(VIRTIO_I2C_F_ZERO_LENGTH_REQUEST)),
  onBus('a header of 7 bytes', segment(0x50, 0).subarray(0, 7), 1),
  onBus('no room for the status', segment(0x50, 0), 0),
  onBus('flags that there are not', segment(0x50, 0xffff_fffc), 1),
  onBus('an address of 10 bits', segment(0x3ff, 0), 1),
  onBus('a read of 64 KiB', segment(0x50, VIRTIO_I2C_FLAGS_M_RD), 0x1_0000),
  refusedRequest({ id: 'A42', title: 'I2C: a write of 64 KiB', clause: '5.16.6' }, (make) => [
    make.bytes(segment(0x50, 0)),
    make.bytes(new Uint8Array(0x1_0000)),
    make.room(1),
  ]),
];

const message = (type: number, gpio: number, value = 0): Uint8Array => structBytes(GPIO_REQUEST, { type, gpio, value });

export const GPIO: Family = {
  name: 'GPIO',
  deviceIds: [DEVICE_ID_GPIO],
  features: featureSet(VIRTIO_GPIO_F_IRQ),
  requestQueues: () => [GPIO_REQUESTQ],
  request: () => ({
    readable: [message(VIRTIO_GPIO_MSG_GET_DIRECTION, 0)],
    writable: [GPIO_RESPONSE_SIZE],
    good: (written, [reply]) => written === GPIO_RESPONSE_SIZE && reply?.[0] === VIRTIO_GPIO_STATUS_OK,
  }),
  judges: true,
};

const onLines = (title: string, bytes: Uint8Array, room = GPIO_RESPONSE_SIZE): DeviceCase =>
  refusedRequest({ id: 'A42', title: `GPIO: ${title}`, clause: '5.18.6' }, (make) => [
    make.bytes(bytes),
    ...(room === 0 ? [] : [make.room(room)]),
  ]);

const IRQ = featureSet(VIRTIO_GPIO_F_IRQ);

/** The like of A42: requests and events that are none (5.18.6, 5.18.7). */
export const GPIO_CASES: readonly DeviceCase[] = [
  onLines('a request of 7 bytes', message(VIRTIO_GPIO_MSG_GET_DIRECTION, 0).subarray(0, 7)),
  onLines('a line that there is not', message(VIRTIO_GPIO_MSG_GET_DIRECTION, 0xffff)),
  onLines('a request that there is not', message(0xfffe, 0)),
  onLines('a direction that there is not', message(3, 0, 0xffff_ffff)),
  onLines('a kind of interrupt that there is not', message(VIRTIO_GPIO_MSG_SET_IRQ_TYPE, 0, 0xffff_ffff)),
  onLines('no room for the response', message(VIRTIO_GPIO_MSG_GET_DIRECTION, 0), 0),
  onLines('room for half of the response', message(VIRTIO_GPIO_MSG_GET_DIRECTION, 0), 1),
  ...(
    [
      ['a line that there is not', Uint8Array.of(0xff, 0xff), 1],
      ['half of a line\u2019s number', Uint8Array.of(0), 1],
      ['a line whose interrupt is not enabled', Uint8Array.of(0, 0), 1],
      ['no room for the event', Uint8Array.of(0, 0), 0],
    ] as const
  ).map(([title, bytes, room]) =>
    requestOn(
      GPIO_EVENTQ,
      { id: 'A42', title: `GPIO: an event of ${title}`, clause: '5.18.7', ring: IRQ },
      (make) => [make.bytes(bytes), ...(room === 0 ? [] : [make.room(room)])],
      'as it likes',
    ),
  ),
];
