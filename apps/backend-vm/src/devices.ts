import type { GuestDeviceEnd } from '@remio/guest';
import { lockFile } from '@remio/shared-memory';
import type { ModuleRef } from '@remio/topology';
import { BlockDevice, type DeviceFactory, type VirtioDevice } from '@remio/virtio-device';
import { FileStorage } from '@remio/virtio-device/file-storage';

/** Options of the built-in block device, as the topology's check lets them through. */
interface BlockDeviceOptions {
  readonly image: string;
  readonly readOnly?: boolean;
  readonly queues?: number;
  readonly queueSize?: number;
  readonly id?: string;
}

/** Two devices that write to one image would ruin it; where there is no flock, nobody shares it either. */
const exclusive = (fd: number): boolean => process.platform !== 'linux' || lockFile(fd);

/**
 * Makes the device model of a backend's end.
 * @throws Error that says what is wrong with the device's options
 */
export async function makeDevice(end: GuestDeviceEnd): Promise<VirtioDevice> {
  // The runtime hands over the topology's own record, which was checked when the topology was read.
  const reference = end.options as ModuleRef | undefined;
  if (reference === undefined) throw new Error(`device ${end.name} has no device model`);
  if (reference.kind === 'module') {
    const module = (await import(reference.name)) as { default?: DeviceFactory };
    if (typeof module.default !== 'function')
      throw new Error(`${reference.name} has no default export that makes a device`);
    return module.default(reference.options);
  }
  if (reference.name !== 'block') throw new Error(`no built-in device model is called ${reference.name}`);
  const options = reference.options as BlockDeviceOptions;
  const storage = FileStorage.open(options.image, options.readOnly ?? false, exclusive);
  if (!storage.ok) throw new Error(`device ${end.name}: ${storage.error}`);
  return new BlockDevice(storage.value, options);
}
