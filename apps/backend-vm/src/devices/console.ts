import { ProgramError } from '@remio/guest';
import { openEndpoint } from '@remio/host-io';
import type { ConsoleModelOptions } from '@remio/topology';
import { ConsoleDevice, type ConsolePortOptions } from '@remio/virtio-device';

/**
 * A console whose ports lead to the host.
 * @throws Error that says what is wrong with where a port leads
 */
export async function consoleDevice(name: string, options: ConsoleModelOptions): Promise<ConsoleDevice> {
  const ports: ConsolePortOptions[] = [];
  for (const { line, ...port } of options.ports) {
    const source = await openEndpoint(line, true);
    if (!source.ok) throw new ProgramError(`device ${name}: ${source.error}`);
    ports.push({ ...port, source: source.value });
  }
  return new ConsoleDevice(ports);
}
