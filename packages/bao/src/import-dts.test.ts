import type { Topology } from '@remio/topology';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { topologyText } from '../../../test/support/arbitrary-topology.js';
import { exportOf, fileOf, readShipped, shippedTopologies, topologyOfText } from '../../../test/support/topologies.js';
import { type BaoExport, type ImportDtsOptions, type Imported, importDts } from './index.js';

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
const nothing: ImportDtsOptions['include'] = () => undefined;

const read = (text: string | Uint8Array, include = nothing): ReturnType<typeof importDts> =>
  importDts({
    files: [{ file: 'guest.dts', bytes: typeof text === 'string' ? bytesOf(text) : text }],
    board: 'qemu-aarch64-virt',
    include,
  });

function imported(text: string): Imported {
  const result = read(text);
  if (!result.ok) throw new Error(`${result.error.place?.line}: ${result.error.message}`);
  return result.value;
}

/** The trees of an export, as an import finds them. */
function importedTrees(exported: BaoExport, board: string): Topology {
  const trees = exported.files.filter(({ name }) => name.endsWith('.dts'));
  const result = importDts({
    files: trees.map(({ name, text }) => ({ file: name, bytes: bytesOf(text) })),
    board,
    include: (path) => ({ file: path, text: fileOf(exported, path) }),
  });
  if (!result.ok) throw new Error(`${result.error.file}:${result.error.place?.line}: ${result.error.message}`);
  return topologyOfText(result.value.text).topology;
}

/** What device trees say of a topology whose board has one CPU for each vCPU at least. */
const saidByTrees = ({ arch, vms }: Topology): unknown => ({
  arch,
  vms: vms.map(({ name, cpus, memory, remioDevs, ipcs }) => ({
    name,
    cpus: cpus.length,
    // One that the topology does not say is assumed.
    memory: memory.length === 0 ? undefined : memory.map(({ base, size }) => [base, size]),
    ends: remioDevs.map(({ type, window, interrupt, shmem }) => [type, window, interrupt, shmem.base, shmem.size]),
    ipcs: ipcs.map(({ shmem, interrupts }) => [shmem.base, shmem.size, interrupts]),
  })),
});

/** The same, without what the export assumed. */
const likeness = (shown: Topology, from: Topology): Topology => ({
  ...shown,
  vms: shown.vms.map((vm, n) => (from.vms[n]?.memory.length === 0 ? { ...vm, memory: [] } : vm)),
});

/** Boards of which there are synthetic ones only are imported as what they are like. */
const boardOf = ({ arch, board }: Topology): string =>
  board.name.startsWith('synthetic') ? `qemu-${arch}-virt` : board.name;

describe('the trees of an export', () => {
  const fits = (topology: Topology): boolean =>
    !topology.board.name.startsWith('synthetic') &&
    topology.vms.some(({ remioDevs, ipcs }) => remioDevs.length + ipcs.length > 0);

  it.each(
    shippedTopologies()
      .map((file) => [file.replace(/^.*\//, ''), readShipped(file)] as const)
      .filter(([, { topology }]) => fits(topology)),
  )('show what the topology says: %s', (_, from) => {
    const shown = importedTrees(exportOf(from), boardOf(from.topology));
    expect(saidByTrees(likeness(shown, from.topology))).toEqual(saidByTrees(from.topology));
  });

  it('show what the topology says, of any kind', { timeout: 120_000 }, () => {
    fc.assert(
      fc.property(topologyText, (text) => {
        const from = topologyOfText(text);
        fc.pre(fits(from.topology));
        // A tree does not say which of several memories at one address an IPC object is of, nor that it maps a part.
        const { vms } = from.topology;
        fc.pre(
          vms.every(({ ipcs }) =>
            ipcs.every(({ size, shmem }) => from.topology.sharedMemories[shmem.id]?.size === size),
          ),
        );
        const shown = importedTrees(exportOf(from, { wide: true }), boardOf(from.topology));
        expect(saidByTrees(likeness(shown, from.topology))).toEqual(saidByTrees(from.topology));
      }),
      { numRuns: 60 },
    );
  });
});

/** A frontend's tree, with what is given besides in its root. */
const frontend = (more = '', device = ''): string => `/dts-v1/;
/ {
	#address-cells = <2>;
	#size-cells = <2>;
	interrupt-parent = <&gic>;
	cpus { #address-cells = <1>; #size-cells = <0>; cpu@0 { device_type = "cpu"; reg = <0>; }; };
	memory@10000000 { device_type = "memory"; reg = <0 0x10000000 0 0x100000>, <0 0xd0000000 0 0x10000>; };
	reserved-memory {
		#address-cells = <2>; #size-cells = <2>; ranges;
		pool: buffer@d0000000 { compatible = "restricted-dma-pool"; reg = <0 0xd0000000 0 0x10000>; };
	};
	gic: intc@8000000 { compatible = "arm,gic-v3"; reg = <0 0x8000000 0 0x10000 0 0x80a0000 0 0x20000>; interrupt-controller; #interrupt-cells = <3>; };
	dev: virtio@a003e00 { compatible = "virtio,mmio"; reg = <0 0xa003e00 0 0x200>; interrupts = <0 47 1>; memory-region = <&pool>; ${device} };
	${more}
};
`;

describe('a device tree', () => {
  it('of a frontend alone gets a backend, and says so', () => {
    const { text, notes } = imported(frontend());
    const { topology } = topologyOfText(text);
    expect(topology.vms.map(({ name }) => name)).toEqual(['guest', 'assumed-backend']);
    expect(topology.vms[0]?.memory).toEqual([{ base: 0x1000_0000n, size: 0x10_0000 }]);
    expect(topology.vms[0]?.remioDevs[0]).toMatchObject({ interrupt: 79, window: { base: 0xa00_3e00n, size: 0x200 } });
    expect(notes).toContainEqual(
      expect.objectContaining({ kind: 'assumed', message: expect.stringContaining('assumed-backend') }),
    );
  });

  it('has what a later part of the source says, and lacks what it deletes', () => {
    const text = `${frontend('old { };')}
&dev { reg = <0x0 0xa003c00 0x0 (0x100 * 2)>; interrupts = <(0) (40 + 6) 1>; };
&{/memory@10000000} { /delete-property/ device_type; };
/delete-node/ &{/old};
`;
    const { topology } = topologyOfText(imported(text).text);
    expect(topology.vms[0]?.remioDevs[0]).toMatchObject({ interrupt: 78, window: { base: 0xa00_3c00n } });
    expect(topology.vms[0]?.memory).toEqual([]);
  });

  it('has devices below buses, where the buses put them', () => {
    const bus = `bus@0 { compatible = "simple-bus"; #address-cells = <1>; #size-cells = <1>; ranges = <0x1000 0x0 0xa000000 0x10000>;
      virtio@1c00 { compatible = "virtio,mmio"; reg = <0x1c00 0x200>; interrupts = <0 48 1>; memory-region = <&two>; }; };`;
    const text = frontend(bus).replace(
      'pool: buffer',
      'two: buffer@d1000000 { compatible = "restricted-dma-pool"; reg = <0 0xd1000000 0 0x10000>; };\n pool: buffer',
    );
    const { topology } = topologyOfText(imported(text).text);
    expect(topology.vms[0]?.remioDevs.map(({ window }) => window.base)).toEqual([0xa00_3e00n, 0xa00_0c00n]);
  });

  it('tells of devices that it does not carry, and skips those that are off', () => {
    const { notes } = imported(
      frontend(
        'uart@9000000 { compatible = "arm,pl011"; reg = <0 0x9000000 0 0x1000>; }; off@1 { status = "disabled"; compatible = "virtio,mmio"; reg = <0 1 0 1>; };',
      ),
    );
    expect(notes.filter(({ kind }) => kind === 'lost').map(({ message }) => message)).toEqual([
      expect.stringContaining('uart@9000000'),
    ]);
  });

  it('is read with the files that it includes', () => {
    const files: Record<string, string> = {
      'pool.dtsi': 'pool: buffer@d0000000 { compatible = "restricted-dma-pool"; reg = <0 0xd0000000 0 0x10000>; };',
    };
    const text = frontend().replace(/pool: buffer.*\n/, '/include/ "pool.dtsi"\n');
    const result = read(text, (path) => (files[path] === undefined ? undefined : { file: path, text: files[path] }));
    expect(result.ok).toBe(true);
  });
});

describe('what is no device tree', () => {
  const errorOf = (text: string | Uint8Array, include = nothing): string => {
    const result = read(text, include);
    if (result.ok) throw new Error('it was imported');
    return `${result.error.place?.line ?? '-'}: ${result.error.message}`;
  };

  it.each([
    ['nothing', '', '-: this is no device tree'],
    ['a program', '\x7fELF\0\0', 'neither a source nor a blob'],
    ['another text', 'board: zcu104\n', '-: this is no device tree'],
    ['a tree that ends too early', frontend().slice(0, -40), 'the file ends here'],
    ['a missing semicolon', frontend('a = <1>'), '`;` is expected after a'],
    ['a label that nothing has', frontend('x = <&nowhere>;'), '14: no node is labelled nowhere'],
    ['a path that nothing has', frontend('x = &{/nowhere};'), 'no node is labelled {/nowhere}'],
    [
      'a phandle that no node has',
      frontend().replace('<&pool>', '<0x77>'),
      '13: memory-region of virtio@a003e00 points at phandle 0x77',
    ],
    [
      'an interrupt parent that no node has',
      frontend().replace('<&gic>', '<0x99>'),
      'interrupt-parent of / points at phandle 0x99',
    ],
    ['two nodes with one phandle', frontend('a { phandle = <5>; }; b { phandle = <5>; };'), 'have the same phandle'],
    ['a label for two nodes', frontend('pool: other { };'), 'pool labels buffer@d0000000 already'],
    ['a controller that is none', frontend().replace('#interrupt-cells = <3>;', ''), 'it has no #interrupt-cells'],
    ['interrupts that are no multiple', frontend().replace('<0 47 1>', '<0 47>'), 'no multiple of 3'],
    [
      'a reg that is no multiple',
      frontend().replace('reg = <0 0xa003e00 0 0x200>', 'reg = <0xa003e00 0x200 0>'),
      'no multiple of 4',
    ],
    ['no interrupt', frontend().replace('interrupts = <0 47 1>;', ''), 'has no interrupt'],
    ['a number that is too large', frontend('x = <0x1ffffffff>;'), 'more than 32 bits'],
    ['a division by zero', frontend('x = <(1 / 0)>;'), 'a division by zero'],
    [
      'the preprocessor\u2019s',
      `#include "x.h"\n${frontend()}`,
      '1: #include: run the file through the C preprocessor',
    ],
    ['an overlay', '/dts-v1/;\n/plugin/;\n', '2: this is an overlay'],
    ['a binary', frontend('x = /incbin/("logo.bin");'), '/incbin/ is not read'],
    ['a file that is not there', frontend('/include/ "x.dtsi"'), 'there is no file x.dtsi'],
    ['nothing of Remote I/O', '/dts-v1/;\n/ { };\n', 'nothing here is Remote I/O'],
    ['nodes within nodes', `/dts-v1/; / { ${'a { '.repeat(10_000)}`, 'nodes are 64 deep'],
    ['parentheses within parentheses', frontend(`x = <${'('.repeat(100_000)}1>;`), 'too deep'],
    [
      'a cell count beyond all sense',
      frontend().replace('#address-cells = <2>', '#address-cells = <1000000>'),
      'there are at most 4',
    ],
  ])('is refused, with its place: %s', (_, text, message) => {
    expect(errorOf(text)).toContain(message);
  });

  it('of any kind is a topology or an error, never an exception', () => {
    const whole = frontend();
    const place = fc.nat({ max: whole.length });
    const scraps = fc.constantFrom(
      '',
      '{',
      '}',
      '<',
      '>',
      '&',
      '&pool',
      ';',
      '"',
      '/',
      '0x',
      '(1',
      '/bits/',
      '/*',
      'x = <&dev>;',
    );
    fc.assert(
      fc.property(place, fc.nat({ max: 100 }), scraps, (from, length, scrap) => {
        const result = read(whole.slice(0, from) + scrap + whole.slice(from + length));
        expect(result.ok ? result.value.text : result.error.message).not.toBe('');
      }),
      { numRuns: 500 },
    );
  });

  it('is refused where it is too large, or includes itself', () => {
    expect(errorOf(frontend('a = <1>;\n'.repeat(1_000_000)))).toContain('more than 4194304 characters');
    const loop = '/include/ "loop.dtsi"\n';
    expect(errorOf(`/dts-v1/;\n${loop}`, () => ({ file: 'loop.dtsi', text: loop }))).toContain(
      'does one include itself?',
    );
  });
});

/** A blob with the given structure block. */
function blob(structure: readonly number[], strings = 'reg\0'): Uint8Array {
  const words = [0xd00dfeed, 0, 40, 0, 40, 17, 16, 0, strings.length, 4 * structure.length];
  const size = 40 + 4 * structure.length + strings.length;
  words[1] = size;
  words[3] = 40 + 4 * structure.length;
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  [...words, ...structure].forEach((word, n) => view.setUint32(4 * n, word));
  bytes.set(bytesOf(strings), 40 + 4 * structure.length);
  return bytes;
}

describe('a blob', () => {
  const errorOf = (bytes: Uint8Array): string => {
    const result = read(bytes);
    return result.ok ? 'imported' : result.error.message;
  };

  it.each([
    ['is read', [1, 0, 2, 9], 'nothing here is Remote I/O'],
    ['without an end', [1, 0, 2], 'is outside of the tree'],
    ['with a node that does not end', [1, 0, 9], 'the tree has no end'],
    ['with two roots', [1, 0, 2, 1, 0, 2, 9], 'a second root'],
    ['with an end without a beginning', [2, 9], 'outside of the tree'],
    ['with a property that ends outside', [1, 0, 3, 0xffff_ff00, 0, 2, 9], 'ends outside of the blob'],
    ['with a name that lies outside', [1, 0, 3, 0, 0xffff_ff00, 2, 9], 'has no end'],
    ['with an unknown token', [1, 0, 7, 9], 'there is no token 7'],
    ['with nodes within nodes', [...Array.from({ length: 200 }, () => [1, 0]).flat(), 9], 'nodes are 64 deep'],
  ])('%s', (_, structure, message) => {
    expect(errorOf(blob(structure))).toContain(message);
  });

  it('that was cut off anywhere is refused', () => {
    const whole = blob([1, 0, 3, 4, 0, 0x1234, 2, 9]);
    for (let length = 0; length < whole.length; length += 1)
      expect(errorOf(whole.subarray(0, length))).not.toContain('Remote I/O');
  });

  it('of any bytes is a tree or an error, never an exception', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constantFrom(1, 2, 3, 4, 9, 0), fc.integer({ min: 0, max: 0xffff_ffff })), {
          maxLength: 60,
        }),
        (structure) => {
          expect(typeof errorOf(blob(structure))).toBe('string');
        },
      ),
    );
  });
});
