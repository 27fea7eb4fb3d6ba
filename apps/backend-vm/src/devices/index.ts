import { type GuestDeviceEnd, ProgramError } from '@remio/guest';
import type { DeviceChoice, DeviceRef } from '@remio/topology';
import { type DeviceFactory, GpioDevice, type VirtioDevice } from '@remio/virtio-device';
import { blockDevice } from './block.js';
import { consoleDevice } from './console.js';
import { entropyDevice } from './entropy.js';
import { fsDevice } from './fs.js';
import { i2cDevice } from './i2c.js';
import { BackendNetwork } from './net.js';
import { BackendVsocks } from './vsock.js';

/** What makes the device models of one backend VM; what they have in common, such as switches, is that VM's alone. */
export const deviceMaker = (): ((end: GuestDeviceEnd) => Promise<VirtioDevice>) => {
  const shared = { network: new BackendNetwork(), vsocks: new BackendVsocks() };
  return (end) => makeDevice(end, shared);
};

/** What devices of one backend VM have in common. */
interface Shared {
  readonly network: BackendNetwork;
  readonly vsocks: BackendVsocks;
}

/**
 * Makes the device model of a backend's end.
 * @throws Error that says what is wrong with the device's options
 */
async function makeDevice(end: GuestDeviceEnd, shared: Shared): Promise<VirtioDevice> {
  // The runtime hands over the topology's own record, which was checked when the topology was read.
  const reference = end.options as DeviceRef | undefined;
  if (reference === undefined) throw new ProgramError(`device ${end.name} has no device model`);
  if (reference.kind === 'builtin') return builtin(end.name, reference.choice, shared);
  const module = (await import(reference.name)) as { default?: DeviceFactory };
  if (typeof module.default !== 'function')
    throw new ProgramError(`${reference.name} has no default export that makes a device`);
  return module.default(reference.options);
}

function builtin(
  name: string,
  choice: DeviceChoice,
  { network, vsocks }: Shared,
): VirtioDevice | Promise<VirtioDevice> {
  switch (choice.type) {
    case 'gpio':
      return new GpioDevice(choice.options.lines);
    case 'i2c':
      return i2cDevice(choice.options);
    case 'fs':
      return fsDevice(name, choice.options);
    case 'block':
      return blockDevice(name, choice.options);
    case 'console':
      return consoleDevice(name, choice.options);
    case 'vsock':
      return vsocks.device(name, choice.options);
    case 'entropy':
      return entropyDevice(choice.options);
    case 'net':
      return network.device(name, choice.options);
  }
}
