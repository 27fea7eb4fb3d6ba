import type { Topology } from '@remio/topology';

/** Text that may stand in a comment of C, and on one line. */
export const commentText = (text: string): string => text.replace(/\*\//g, '* /').replace(/[\r\n]+/g, ' ');

/**
 * Identifiers of the VMs' images in C: the VM's name where that is one, another where two VMs would share it.
 * By VM, in order.
 */
export function imageNames(topology: Topology): readonly string[] {
  const taken = new Set<string>();
  return topology.vms.map(({ name }) => {
    const plain = name.replaceAll('-', '_');
    let chosen = `${plain}_image`;
    for (let n = 2; taken.has(chosen); n += 1) chosen = `${plain}_${n}_image`;
    taken.add(chosen);
    return chosen;
  });
}
