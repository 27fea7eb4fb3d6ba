import { exclusiveOf } from '../line.js';
import { linesOf } from '../lines.js';
import type { TopologySource } from '../reader.js';
import type { RemioDev, Topology } from '../types.js';
import { endPath } from './places.js';

/** Checks that no two lines to the host lead to one place. */
export function checkLines(source: TopologySource, topology: Topology): void {
  const users = new Map<string, RemioDev>();
  for (const { vm, end, line, place } of linesOf(topology)) {
    const taken = exclusiveOf(line);
    if (taken === undefined) continue;
    const user = users.get(taken);
    if (user !== undefined) {
      const message = `${taken} is where a line of ${user.name} leads already`;
      source.error('line', endPath(vm, end, ...place), message, 'let each line lead to a place of its own');
    }
    users.set(taken, end);
  }
}
