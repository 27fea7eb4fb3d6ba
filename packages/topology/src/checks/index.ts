import { checkHosts } from '../host-checks.js';
import { checkIpcs } from '../ipc-checks.js';
import type { TopologySource } from '../reader.js';
import type { Topology } from '../types.js';
import { checkAddressSpaces } from './address-space.js';
import { checkCycles } from './cycles.js';
import { checkEnds } from './ends.js';
import { checkInterrupts } from './interrupts.js';
import { checkKeys } from './keys.js';
import { checkLines } from './lines.js';
import { checkNetworks } from './networks.js';
import { checkPairs } from './pairs.js';
import { checkPlacement } from './placement.js';
import { checkQueues } from './queues.js';
import { checkReference } from './reference.js';
import { checkResume } from './resume.js';
import { checkVcpus } from './vcpus.js';
import { checkVsocks } from './vsocks.js';

/** Checks what the shape of a file cannot say. Every check takes the time of looking at each thing once, or of a sort. */
export function checkTopology(source: TopologySource, topology: Topology): void {
  checkPlacement(source, topology);
  checkAddressSpaces(source, topology);
  for (const vm of topology.vms) {
    checkInterrupts(source, topology, vm);
    checkEnds(source, topology, vm);
  }
  checkPairs(source, topology);
  checkQueues(source, topology);
  checkReference(source, topology);
  checkResume(source, topology);
  checkIpcs(source, topology);
  checkVcpus(source, topology);
  checkNetworks(source, topology);
  checkVsocks(source, topology);
  checkKeys(source, topology);
  checkLines(source, topology);
  // A host whose VMs are not there has none: that was said.
  if (!source.diagnostics.some(({ rule }) => rule === 'host')) checkHosts(source, topology);
  checkCycles(source, topology);
}
