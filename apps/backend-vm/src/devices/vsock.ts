import { HybridVsock } from '@remio/host-io';
import type { VsockModelOptions } from '@remio/topology';
import { VsockDevice } from '@remio/virtio-device';

/**
 * A socket device whose host ports lead to Unix sockets.
 * @throws Error that says what is wrong with their path
 */
export async function vsockDevice(name: string, { cid, uds }: VsockModelOptions): Promise<VsockDevice> {
  const hybrid = await HybridVsock.listen(uds);
  if (!hybrid.ok) throw new Error(`device ${name}: ${hybrid.error}`);
  return new VsockDevice(BigInt(cid), hybrid.value);
}
