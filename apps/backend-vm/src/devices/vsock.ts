import { ProgramError } from '@remio/guest';
import { HybridVsock } from '@remio/host-io';
import type { VsockModelOptions } from '@remio/topology';
import { VsockDevice, VsockGroup, type VsockOutside } from '@remio/virtio-device';

/** No program of the host. */
const NOBODY: VsockOutside = {
  open: () => {},
  connect: (_, done) => done(undefined),
  close: () => Promise.resolve(),
};

/** The socket devices of one backend VM, and the groups that they are in. */
export class BackendVsocks {
  readonly #groups = new Map<string, VsockGroup>();

  /**
   * A socket device whose host ports lead to Unix sockets.
   * @throws Error that says what is wrong with their path
   */
  async device(name: string, { cid, uds, group }: VsockModelOptions): Promise<VsockDevice> {
    return new VsockDevice(BigInt(cid), await outsideOf(name, uds), this.#group(group));
  }

  #group(name: string | undefined): VsockGroup | undefined {
    if (name === undefined) return undefined;
    const group = this.#groups.get(name) ?? new VsockGroup();
    this.#groups.set(name, group);
    return group;
  }
}

async function outsideOf(name: string, uds: string | undefined): Promise<VsockOutside> {
  if (uds === undefined) return NOBODY;
  const hybrid = await HybridVsock.listen(uds);
  if (!hybrid.ok) throw new ProgramError(`device ${name}: ${hybrid.error}`);
  return hybrid.value;
}
