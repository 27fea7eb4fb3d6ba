import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BUILTIN_PROGRAMS, parseTopology, type Topology } from '@remio/topology';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Box, FONT } from './boxes.js';
import { type Layout, layOut, type Point, pictureOf, renderMermaid, renderSvg } from './index.js';

const root = join(import.meta.dirname, '..', '..', '..');

const topologyOf = (text: string): Topology => {
  const { topology, diagnostics } = parseTopology(text, '/test.yaml', {
    resolve: (path) => path,
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });
  if (topology === undefined) throw new Error(diagnostics.map(({ message }) => message).join('\n'));
  return topology;
};
const shipped = (file: string): Topology => topologyOf(readFileSync(join(root, file), 'utf8'));

/** A topology of VMs with these numbers of CPUs, devices between two of them, and memories that some share. */
function written(
  vms: readonly { readonly name: string; readonly cpus: number }[],
  devices: readonly { readonly name: string; readonly frontend: number; readonly backend: number }[],
  channels: readonly { readonly name: string; readonly vms: readonly number[]; readonly events: number }[],
): string {
  const lines = vms.map(({ name, cpus }, n) => ({
    head: `  vm${n}${name}: { cpus: ${cpus}, program: idle`,
    ends: [] as string[],
    ipcs: [] as string[],
    irq: 32,
    base: 0x1000_0000,
  }));
  const memories: string[] = [];
  devices.forEach(({ name, frontend, backend }, key) => {
    memories.push(`  d${key}: { size: 64KiB }`);
    const base = 0x8000_0000 + key * 0x1_0000;
    const end = (vm: number, type: string, rest: string): void => {
      const line = lines[vm];
      if (line === undefined) return;
      line.ends.push(
        `{ name: d${key}${name}, type: ${type}, bind_key: ${key}, interrupt: ${line.irq}, shmem: { memory: d${key}, base: ${base} }, ${rest} }`,
      );
      line.irq += 1;
    };
    end(frontend, 'frontend', `window: { base: ${0xa00_0000 + key * 0x200} }`);
    end(backend, 'backend', 'device: { type: entropy }');
  });
  channels.forEach((channel, n) => {
    memories.push(`  c${n}${channel.name}: { size: 8KiB }`);
    for (const vm of channel.vms) {
      const line = lines[vm];
      if (line === undefined) continue;
      const irqs = Array.from({ length: channel.events }, () => {
        line.irq += 1;
        return line.irq - 1;
      });
      line.ipcs.push(`{ memory: c${n}${channel.name}, base: ${line.base}, interrupts: [${irqs.join(', ')}] }`);
      line.base += 0x2000;
    }
  });
  const bodies = lines.map(
    ({ head, ends, ipcs }) => `${head}, remio_devs: [${ends.join(', ')}], ipcs: [${ipcs.join(', ')}] }`,
  );
  const shared = memories.length === 0 ? '' : `shared_memories:\n${memories.join('\n')}\n`;
  return `board: { name: synthetic-aarch64, cpus: 64 }\n${shared}vms:\n${bodies.join('\n')}\n`;
}

const suffix = fc.constantFrom('', 'a', '-with-a-name-that-goes-on-for-longer-than-others');

const text: fc.Arbitrary<string> = fc.integer({ min: 1, max: 8 }).chain((count) =>
  fc
    .tuple(
      fc.array(fc.record({ name: suffix, cpus: fc.integer({ min: 1, max: 8 }) }), {
        minLength: count,
        maxLength: count,
      }),
      count < 2
        ? fc.constant([])
        : fc.array(
            fc
              .record({ name: suffix, frontend: fc.nat(count - 1), step: fc.integer({ min: 1, max: count - 1 }) })
              .map(({ name, frontend, step }) => ({ name, frontend, backend: (frontend + step) % count })),
            { maxLength: 14 },
          ),
      fc.array(
        fc.record({
          name: suffix,
          vms: fc.uniqueArray(fc.nat(count - 1), { minLength: 1, maxLength: count }),
          events: fc.nat(6),
        }),
        { maxLength: 4 },
      ),
    )
    .map(([vms, devices, channels]) => written(vms, devices, channels)),
);

const apart = (a: Box, b: Box, gap: number): boolean =>
  a.x + a.width + gap <= b.x ||
  b.x + b.width + gap <= a.x ||
  a.y + a.height + gap <= b.y ||
  b.y + b.height + gap <= a.y;

const inside = (inner: Box, outer: Box): boolean =>
  inner.x >= outer.x &&
  inner.y >= outer.y &&
  inner.x + inner.width <= outer.x + outer.width &&
  inner.y + inner.height <= outer.y + outer.height;

/** A stretch of a link as a box without area. */
const stretch = (from: Point, to: Point): Box => ({
  x: Math.min(from.x, to.x),
  y: Math.min(from.y, to.y),
  width: Math.abs(from.x - to.x),
  height: Math.abs(from.y - to.y),
});

/** What is wrong with a layout. */
function problemsOf({ width, height, vms, memories, links }: Layout): readonly string[] {
  const problems: string[] = [];
  const whole = { x: 0, y: 0, width, height };
  const tops = [...vms.map((box) => ({ id: box.vm.id, box })), ...memories.map((box) => ({ id: box.memory.id, box }))];
  tops.forEach(({ id, box }, n) => {
    if (!inside(box, whole)) problems.push(`${id} is outside`);
    for (const other of tops.slice(0, n)) if (!apart(box, other.box, 8)) problems.push(`${id} is on ${other.id}`);
  });
  for (const { vm, width: vmWidth, height: vmHeight, cpus, ends } of vms) {
    const own = { x: 0, y: 0, width: vmWidth, height: vmHeight };
    if (vm.name.length * FONT.titleWidth > vmWidth) problems.push(`${vm.name} is too long for its box`);
    const parts: readonly Box[] = [...cpus, ...ends];
    parts.forEach((part, n) => {
      if (!inside(part, own)) problems.push(`part ${n} of ${vm.name} is outside`);
      for (const other of parts.slice(0, n)) if (!apart(part, other, 2)) problems.push(`parts of ${vm.name} overlap`);
    });
    for (const row of ends) {
      const textEnd = row.x + 6 + Math.max(row.end.name.length * FONT.width, row.end.detail.length * FONT.smallWidth);
      for (const chip of row.interrupts) {
        if (!inside(chip, row)) problems.push(`${chip.text} is outside ${row.end.name}`);
        if (chip.text.length * FONT.smallWidth > chip.width) problems.push(`${chip.text} is too long for its box`);
        if (chip.x < textEnd) problems.push(`${chip.text} is on the text of ${row.end.name}`);
      }
      if (textEnd > row.x + row.width) problems.push(`${row.end.name} is too long for its row`);
    }
  }
  for (const { memory, width: room } of memories) {
    if (memory.name.length * FONT.width > room) problems.push(`${memory.name} is too long for its box`);
  }
  for (const { link, points } of links) {
    if (points.length < 2) problems.push(`${link.id} leads nowhere`);
    points.slice(1).forEach((to, n) => {
      const way = stretch(points[n] ?? to, to);
      if (way.width > 0.2 && way.height > 0.2) problems.push(`${link.id} is askew`);
      for (const { id, box } of tops) {
        if (link.end.startsWith(`${id}d`) || link.end.startsWith(`${id}i`) || link.memory === id) continue;
        if (!apart(way, box, 0)) problems.push(`${link.id} goes through ${id}`);
      }
    });
  }
  return problems;
}

describe('a picture', () => {
  it('has no box on another, no link through one, and no text too long for its box', async () => {
    await fc.assert(
      fc.asyncProperty(text, async (yaml) => {
        expect(problemsOf(await layOut(pictureOf(topologyOf(yaml))))).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('is the same, byte by byte, every time', async () => {
    const picture = pictureOf(shipped('deploy/topologies/demo-devices-aarch64.yaml'));
    expect(renderSvg(await layOut(picture))).toBe(renderSvg(await layOut(picture)));
  });

  it('shows VMs, CPUs, devices, memories and interrupts, links from frontends through memories to backends', async () => {
    const svg = renderSvg(await layOut(pictureOf(shipped('deploy/topologies/demo-aarch64.yaml'))));
    for (const shown of [
      'backend',
      'guest1',
      'CPU 3',
      'disk0 · frontend',
      'disk1 · backend',
      '16 MiB',
      'irq 79',
      'irq 41',
    ]) {
      expect(svg).toContain(`>${shown}</text>`);
    }
    expect(svg.match(/class="link"/g)).toHaveLength(4);
    expect(svg.match(/marker-end/g)).toHaveLength(2);
    const ipc = renderSvg(await layOut(pictureOf(shipped('examples/partitions-aarch64.yaml'))));
    expect(ipc.match(/class="link dashed"/g)).toHaveLength(4);
  });

  it('survives names that mean something to XML and Mermaid', async () => {
    const picture = { ...pictureOf(topologyOf(written([{ name: '', cpus: 1 }], [], []))), title: `a <b> & "c"` };
    expect(renderSvg(await layOut(picture))).toContain('>a &lt;b&gt; &amp; &quot;c&quot;</text>');
    const [vm] = picture.vms;
    const odd = { ...picture, vms: vm === undefined ? [] : [{ ...vm, program: '"my" <program>.js' }] };
    expect(renderMermaid(odd)).toContain('["vm0: #quot;my#quot; #lt;program#gt;.js<br/>CPU 0"]');
  });

  it('is Mermaid that names every end once, between its VM and its memory', () => {
    fc.assert(
      fc.property(text, (yaml) => {
        const picture = pictureOf(topologyOf(yaml));
        const lines = renderMermaid(picture).split('\n');
        expect(lines[0]).toBe('flowchart LR');
        expect(lines.filter((line) => line.startsWith('  subgraph'))).toHaveLength(picture.vms.length);
        expect(lines.filter((line) => line === '  end')).toHaveLength(picture.vms.length);
        for (const { end, memory } of picture.links) {
          expect(lines.filter((line) => line.startsWith(`    ${end}[`))).toHaveLength(1);
          expect(lines.filter((line) => line.startsWith(`  ${memory}[(`))).toHaveLength(1);
        }
      }),
      { numRuns: 30 },
    );
  });
});

describe('pictures of the documentation', () => {
  it.each([
    ['README.md', 'deploy/topologies/demo-aarch64.yaml', 'docs/pictures/demo-aarch64.svg'],
    ['examples/README.md', 'examples/automotive.yaml', 'docs/pictures/automotive.svg'],
  ])('%s: that of %s is as `remio graph` draws it', async (page, topology, picture) => {
    expect(readFileSync(join(root, page), 'utf8')).toContain(`${picture})`);
    expect(renderSvg(await layOut(pictureOf(shipped(topology))))).toBe(readFileSync(join(root, picture), 'utf8'));
  });

  it('docs/topology.md has the Mermaid that `remio graph --mermaid` prints', () => {
    const page = readFileSync(join(root, 'docs', 'topology.md'), 'utf8');
    const drawn = renderMermaid(pictureOf(shipped('deploy/topologies/ping-aarch64.yaml')));
    expect(page).toContain(`\`\`\`mermaid\n${drawn}\`\`\``);
  });
});
