import { ProgramError } from '@remio/guest';
import { SharedDirectory } from '@remio/host-io';
import type { FsModelOptions } from '@remio/topology';
import { FsDevice } from '@remio/virtio-device';

/**
 * A file system on a directory of the host.
 * @throws Error that says what is wrong with the directory
 */
export function fsDevice(name: string, options: FsModelOptions): FsDevice {
  const directory = SharedDirectory.open(options.directory, options.readOnly);
  if (!directory.ok) throw new ProgramError(`device ${name}: ${directory.error}`);
  return new FsDevice(directory.value, options);
}
