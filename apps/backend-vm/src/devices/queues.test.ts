import { type DeviceChoice, deviceQueues, queueSizeMax } from '@remio/topology';
import { GpioDevice, type VirtioDevice } from '@remio/virtio-device';
import { expect, it } from 'vitest';
import { entropyDevice } from './entropy.js';
import { i2cDevice } from './i2c.js';
import { BackendNetwork } from './net.js';

const net = { link: { kind: 'switch', name: 'lan' }, mac: 0x0200_0000_0001, queuePairs: 2, queueSize: 64 } as const;

/** Devices that need nothing of the host, and what a topology says of them. */
const MODELS: readonly (readonly [DeviceChoice, () => VirtioDevice | Promise<VirtioDevice>])[] = [
  [{ type: 'entropy', options: { seed: 1 } }, () => entropyDevice({ seed: 1 })],
  [{ type: 'gpio', options: { lines: [{ name: '', pull: 0 }] } }, () => new GpioDevice([{ name: '', pull: 0 }])],
  [{ type: 'i2c', options: { chips: [] } }, () => i2cDevice({ chips: [] })],
  [{ type: 'net', options: net }, () => new BackendNetwork().device('net0', net)],
  [
    { type: 'net', options: { link: net.link, mac: net.mac } },
    () => new BackendNetwork().device('net0', { link: net.link, mac: net.mac }),
  ],
];

it.each(MODELS)('the check knows the queues of %o', async (choice, make) => {
  const device = await make();
  expect({ count: deviceQueues(choice), size: queueSizeMax(choice) }).toEqual({
    count: device.queueCount,
    size: device.queueSizeMax,
  });
});
