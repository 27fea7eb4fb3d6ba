import { ProgramError } from '@remio/guest';
import { type FileHost, FileStorage } from '@remio/host-io';
import { canPunchHoles, lockFile, punchHole, readCached, zeroRange } from '@remio/shared-memory';
import type { BlockModelOptions } from '@remio/topology';
import { BlockDevice } from '@remio/virtio-device';

/** Two devices that write to one image would ruin it; where there is no flock, nobody shares it either. */
const fileHost: FileHost =
  process.platform === 'linux' ? { lock: lockFile, readCached, canPunchHoles, punchHole, zeroRange } : {};

/**
 * A disk on an image file.
 * @throws Error that says what is wrong with the image
 */
export function blockDevice(name: string, options: BlockModelOptions): BlockDevice {
  const storage = FileStorage.open(options.image, options.readOnly, fileHost);
  if (!storage.ok) throw new ProgramError(`device ${name}: ${storage.error}`);
  return new BlockDevice(storage.value, options);
}
