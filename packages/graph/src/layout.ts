import { assert } from '@remio/base';
import elkModule from 'elkjs/lib/elk.bundled.js';
import type { ELK, ElkExtendedEdge, ElkNode } from 'elkjs/lib/elk-api.js';
import { type Box, type MemoryBox, memoryBox, type Point, type VmBox, vmBox } from './boxes.js';
import type { Picture, PictureLink } from './picture.js';

/** A VM or a memory where it stands. */
export type Placed<T> = T & Box;

/** A link's way through the picture: its start, its corners, its end. */
export interface PlacedLink {
  readonly link: PictureLink;
  readonly points: readonly Point[];
}

/** A picture in which everything has its place. */
export interface Layout {
  readonly picture: Picture;
  readonly width: number;
  readonly height: number;
  readonly vms: readonly Placed<VmBox>[];
  readonly memories: readonly Placed<MemoryBox>[];
  readonly links: readonly PlacedLink[];
}

/** Frontends stand left, backends right, and what they share between them; nothing depends on chance. */
const OPTIONS: Readonly<Record<string, string>> = {
  'elk.algorithm': 'layered',
  'elk.direction': 'RIGHT',
  'elk.edgeRouting': 'ORTHOGONAL',
  'elk.randomSeed': '1',
  'elk.padding': '[top=16,left=16,bottom=16,right=16]',
  'elk.spacing.nodeNode': '24',
  'elk.spacing.edgeNode': '16',
  'elk.spacing.edgeEdge': '10',
  'elk.spacing.componentComponent': '24',
  'elk.layered.spacing.nodeNodeBetweenLayers': '48',
  'elk.layered.spacing.edgeNodeBetweenLayers': '20',
  'elk.layered.spacing.edgeEdgeBetweenLayers': '10',
  // The file's order, where nothing speaks against it.
  'elk.layered.considerModelOrder.strategy': 'NODES_AND_EDGES',
};

/** Where an end's link leaves or enters its VM. */
const portId = (end: string): string => `${end}.port`;

/** Places everything; VMs and memories keep apart, and links go around them. */
export async function layOut(picture: Picture): Promise<Layout> {
  const vms = picture.vms.map(vmBox);
  const memories = picture.memories.map(memoryBox);
  const incoming = new Set(picture.links.filter((link) => link.direction === 'from-memory').map((link) => link.end));
  const graph: ElkNode = {
    id: 'picture',
    layoutOptions: { ...OPTIONS },
    children: [
      ...vms.map(
        ({ vm, width, height, ends }): ElkNode => ({
          id: vm.id,
          width,
          height,
          layoutOptions: { 'elk.portConstraints': 'FIXED_POS' },
          ports: ends.map(({ end, y, height: rowHeight }) => ({
            id: portId(end.id),
            x: incoming.has(end.id) ? 0 : width,
            y: y + rowHeight / 2,
            width: 0,
            height: 0,
            layoutOptions: { 'elk.port.side': incoming.has(end.id) ? 'WEST' : 'EAST' },
          })),
        }),
      ),
      ...memories.map(({ memory, width, height }): ElkNode => ({ id: memory.id, width, height })),
    ],
    edges: picture.links.map(({ id, end, memory, direction }): ElkExtendedEdge => {
      const [from, to] = direction === 'to-memory' ? [portId(end), memory] : [memory, portId(end)];
      return { id, sources: [from], targets: [to] };
    }),
  };
  const placed = await new Elk().layout(graph);
  const nodes = new Map((placed.children ?? []).map((node) => [node.id, node]));
  const at = <T extends { readonly width: number; readonly height: number }>(id: string, box: T): Placed<T> => {
    const node = nodes.get(id);
    assert(node?.x !== undefined && node.y !== undefined, `the layout places ${id}`);
    return { ...box, x: round(node.x), y: round(node.y) };
  };
  const edges = new Map((placed.edges ?? []).map((edge) => [edge.id, edge]));
  return {
    picture,
    width: Math.ceil(placed.width ?? 0),
    height: Math.ceil(placed.height ?? 0),
    vms: vms.map((box) => at(box.vm.id, box)),
    memories: memories.map((box) => at(box.memory.id, box)),
    links: picture.links.map((link) => ({ link, points: pointsOf(edges.get(link.id)) })),
  };
}

/** The library is CommonJS, and its declarations are for bundlers: what is imported is its constructor. */
const Elk = elkModule as unknown as new () => Pick<ELK, 'layout'>;

/** A tenth of a pixel is enough for everybody, and looks the same on every machine. */
const round = (value: number): number => Math.round(value * 10) / 10;

const pointsOf = (edge: ElkExtendedEdge | undefined): readonly Point[] =>
  (edge?.sections ?? []).flatMap(({ startPoint, bendPoints, endPoint }) =>
    [startPoint, ...(bendPoints ?? []), endPoint].map(({ x, y }) => ({ x: round(x), y: round(y) })),
  );
