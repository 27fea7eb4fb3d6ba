import { basename } from 'node:path';
import type { Topology } from '@remio/topology';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { topologyText } from '../../../test/support/arbitrary-topology.js';
import { testCParser } from '../../../test/support/c-parser.js';
import {
  exportOf,
  fileOf,
  readShipped,
  shippedTopologies,
  type TopologyOfText,
  topologyOfText,
} from '../../../test/support/topologies.js';
import { type CParser, type ImportNote, importBao } from './index.js';

let parser: CParser;
beforeAll(async () => {
  parser = await testCParser();
});
afterAll(() => parser.dispose());

/** What comes back of a topology that was exported, and what the import had to say. */
function roundTrip(
  from: TopologyOfText,
  sidecar = true,
): { readonly topology: Topology; readonly notes: readonly ImportNote[] } {
  const exported = exportOf(from, { wide: true });
  const imported = importBao(parser, {
    files: [{ file: 'config.c', text: fileOf(exported, 'config.c') }],
    ...(sidecar ? { sidecar: { file: 'remio.yaml', text: fileOf(exported, 'remio.yaml') } } : {}),
    ...(sidecar ? {} : { board: from.topology.board.name }),
    relocate: (path) => path,
  });
  if (!imported.ok) throw new Error(imported.error.message);
  return { topology: topologyOfText(imported.value.text, from.file).topology, notes: imported.value.notes };
}

/** What Bao's configuration says of a topology. */
const saidByBao = ({ arch, sharedMemories, vms }: Topology): unknown => ({
  arch,
  memories: sharedMemories.map(({ id, size, phys }) => ({ id, size, phys })),
  vms: vms.map(({ id, cpus, memory, remioDevs, ipcs }) => ({
    id,
    cpus,
    memory,
    ipcs: ipcs.map(({ index, size, shmem, interrupts }) => ({ index, size, shmem, interrupts })),
    ends: remioDevs.map(({ dm, type, bindKey, window, interrupt, shmem }) => ({
      dm,
      type,
      bindKey,
      window,
      interrupt,
      shmem,
    })),
  })),
});

describe('import(export(T))', () => {
  it.each(shippedTopologies().map((file) => [basename(file), file]))('is T: %s', (_, file) => {
    const from = readShipped(file);
    expect(roundTrip(from)).toEqual({ topology: from.topology, notes: [] });
  });

  it('is T, for topologies of any kind', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(topologyText, (text) => {
        const from = topologyOfText(text);
        expect(roundTrip(from)).toEqual({ topology: from.topology, notes: [] });
      }),
      { numRuns: 150 },
    );
  });

  it('is all that Bao says of T, without the sidecar', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(topologyText, (text) => {
        const from = topologyOfText(text);
        // A board that exists nowhere is in the sidecar alone.
        fc.pre(!from.topology.board.name.startsWith('synthetic'));
        // Memory that the export assumed is memory here.
        fc.pre(from.topology.vms.every(({ memory }) => memory.length > 0));
        expect(saidByBao(roundTrip(from, false).topology)).toEqual(saidByBao(from.topology));
      }),
      { numRuns: 50 },
    );
  });
});
