import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  DEMO_BOARDS,
  DEMO_DEVICE_MODELS,
  demoConfig,
  TUTORIALS,
  tutorialConfig,
} from '../../../test/support/bao-demo.js';
import { testCParser } from '../../../test/support/c-parser.js';
import { topologyOfText } from '../../../test/support/topologies.js';
import { type CParser, type ImportBaoOptions, type Imported, importBao } from './index.js';

let parser: CParser;
beforeAll(async () => {
  parser = await testCParser();
});
afterAll(() => parser.dispose());

const read = (text: string, options: Partial<ImportBaoOptions> = {}): ReturnType<typeof importBao> =>
  importBao(parser, { files: [{ file: 'config.c', text }], relocate: (path) => path, ...options });

function imported(text: string, options: Partial<ImportBaoOptions> = {}): Imported {
  const result = read(text, { board: 'zcu104', ...options });
  if (!result.ok) throw new Error(`${result.error.place?.line}: ${result.error.message}`);
  return result.value;
}

/** A VM of one region, of a configuration that has a field more or less; what is given comes before the configuration. */
const oneVm = (fields: string, before = ''): string => `${before}
struct config config = {
  .vmlist_size = 1,
  .vmlist = (struct vm_config[]) {
    { .image = { .base_addr = 0x1000, .load_addr = VM_IMAGE_OFFSET(guest), .size = VM_IMAGE_SIZE(guest) },
      .entry = 0x1000, .platform = { .cpu_num = 1, ${fields} } }
  }
};`;

const region = (base: string, before = ''): string =>
  oneVm(`.region_num = 1, .regions = (struct vm_mem_region[]) { { .base = ${base}, .size = 0x1000 } }`, before);

/** Where the one region of a VM begins. */
const baseOf = (text: string): bigint | undefined =>
  topologyOfText(imported(text).text).topology.vms[0]?.memory[0]?.base;

describe('the public demo', () => {
  it.each(Object.keys(DEMO_BOARDS))('%s: is the topology that it describes, and passes the check', (board) => {
    const result = read(demoConfig(board), { files: [{ file: `configs/${board}.c`, text: demoConfig(board) }] });
    if (!result.ok) throw new Error(result.error.message);
    const { topology } = topologyOfText(result.value.text);
    expect(topology.board.name).toBe(board);
    const riscv = topology.arch === 'riscv64';
    const [backend, freertos, ...linux] = topology.vms;
    expect(topology.sharedMemories.map(({ size }) => size)).toEqual(Array.from({ length: 5 }, () => 0x100_0000));
    expect(
      backend?.remioDevs.map(({ dm, bindKey, interrupt, shmem }) => [dm, bindKey, interrupt, shmem.id, shmem.base]),
    ).toEqual(
      [0, 1, 2, 3, 4].map((key) => [
        key,
        BigInt(key),
        (riscv ? 36 : 40) + key,
        key,
        0xd000_0000n + BigInt(key) * 0x100_0000n,
      ]),
    );
    expect(freertos?.remioDevs.map(({ bindKey, interrupt }) => [bindKey, interrupt])).toEqual([[0n, 52]]);
    expect(
      linux.map(({ cpus, remioDevs }) => [
        cpus,
        remioDevs.map(({ bindKey, window, interrupt }) => [bindKey, window.base, interrupt]),
      ]),
    ).toEqual([
      [
        [2],
        [
          [1n, 0xa00_3e00n, 79],
          [2n, 0xa00_3c00n, 78],
        ],
      ],
      [
        [3],
        [
          [3n, 0xa00_3e00n, 79],
          [4n, 0xa00_3c00n, 78],
        ],
      ],
    ]);
    // What guests have to themselves of the board is told, not dropped.
    expect(
      result.value.notes.filter(({ message }) => message.includes('a device of the board to itself')),
    ).toHaveLength(2);
  });

  it('has the devices that its device models are configured with', () => {
    const { text } = imported(demoConfig('zcu104'), {
      deviceModels: DEMO_DEVICE_MODELS.map((model, n) => ({ file: `vm${n + 1}.yaml`, text: model })),
    });
    const devices = topologyOfText(text).topology.vms[0]?.remioDevs.map(({ device }) => device);
    expect(devices).toMatchObject([
      { choice: { type: 'console' } },
      { choice: { type: 'net', options: { link: { name: 'tap0' } } } },
      { choice: { type: 'block', options: { image: '/etc/frontend1.img' } } },
      { choice: { type: 'net', options: { link: { name: 'tap1' } } } },
      { choice: { type: 'block', options: { image: '/etc/frontend2.img' } } },
    ]);
  });
});

describe('older tutorials', () => {
  const tutorial = (name: string): Imported => {
    const found = TUTORIALS[name];
    if (found === undefined) throw new Error(name);
    return imported(tutorialConfig(found), { board: found.board });
  };

  it.each(Object.keys(TUTORIALS).filter((name) => !/both with id 0|too small/.test(name)))(
    '%s: passes the check',
    (name) => {
      expect(() => topologyOfText(tutorial(name).text)).not.toThrow();
    },
  );

  it('two frontends with one id fail the check', () => {
    expect(() => topologyOfText(tutorial('console for two guests, both with id 0').text)).toThrow(
      'bind key 0 has a frontend already',
    );
  });

  it('a shared memory that an end maps more of than there is, is wrong', () => {
    const { notes } = tutorial('sockets, over a shared memory that is too small');
    const wrong = notes.filter(({ kind }) => kind === 'wrong').map(({ message }) => message);
    expect(wrong).toHaveLength(2);
    expect(wrong[0]).toContain('maps 0x1000000 bytes of a shared memory of 0x10000');
  });

  it('a device and IPC on shared memories of their own are both there', () => {
    const { topology } = topologyOfText(tutorial('network for two guests, and IPC').text);
    expect(topology.vms.map(({ ipcs }) => ipcs.map(({ shmem, interrupts }) => [shmem.base, interrupts]))).toEqual([
      [[0x7000_0000n, [52]]],
      [],
      [],
      [[0x7000_0000n, [52]]],
    ]);
  });
});

describe('the C of a configuration', () => {
  it.each([
    ['1 << 12 | 0x3000', 0x3000n],
    ['(paddr_t)(4UL * 1024 * 1024)', 0x40_0000n],
    ['(uint64_t)-4096', 0xffff_ffff_ffff_f000n],
    ['~0xfffULL', 0xffff_ffff_ffff_f000n],
    ['01000 + 0b1000 * 8 - (1000 / 10) * 0', 0x240n],
    ['0 ? 1 : 0x5000', 0x5000n],
    ['sizeof(uint64_t) * 512', 0x1000n],
    ["0x2000 + 'a' - 'a'", 0x2000n],
  ])('%s', (expression, value) => {
    expect(imported(region(expression)).text).toContain(`base: 0x${value.toString(16)}`);
  });

  it('has macros, with and without parameters, that name others', () => {
    const macros = '#define KB(n) ((n) * 1024)\n#define BASE KB(4) * PAGES // four\n#define PAGES \\\n  4\n';
    expect(baseOf(region('BASE', macros))).toBe(0x4000n);
  });

  it('has a value for what is not defined otherwise', () => {
    expect(baseOf(region('BASE', '#ifndef BASE\n#define BASE 0x7000\n#endif\n'))).toBe(0x7000n);
  });

  it('takes neither branch on trust: says what it took a name for', () => {
    const text = region('BASE', '#ifdef BIG\n#define BASE 0x7000\n#else\n#define BASE 0x6000\n#endif\n');
    expect(baseOf(text)).toBe(0x6000n);
    expect(imported(text).notes).toContainEqual(
      expect.objectContaining({ kind: 'assumed', message: 'BIG is not defined' }),
    );
  });

  it('has arrays by position, by index, by range, and at the top of the file', () => {
    const regions =
      'static struct vm_mem_region regions[] = { [1] = { 0x5000, .size = 0x1000 }, [0] = { .base = 0x1000, .size = 0x1000 } };';
    const text = oneVm('.region_num = 2, .regions = regions', regions);
    expect(topologyOfText(imported(text).text).topology.vms[0]?.memory.map(({ base }) => base)).toEqual([
      0x1000n,
      0x5000n,
    ]);
  });

  it('is read from several files where one names what another has', () => {
    const files = [
      { file: 'config.c', text: region('BOARD_BASE') },
      { file: 'board.h', text: '#define BOARD_BASE 0x9000\n' },
    ];
    expect(imported('', { files }).text).toContain('base: 0x9000');
  });

  it('tells of fields that a topology has no place for, and of fields that there are none of', () => {
    const { notes } = imported(
      oneVm(
        '.mmu = true, .region_num = 1, .regions = (struct vm_mem_region[]) { { 0x1000, 0x1000, .colors = 0xf, .colour = 1 } }',
      ),
    );
    expect(notes.map(({ kind, message }) => `${kind}: ${message}`)).toEqual(
      expect.arrayContaining([
        'lost: .mmu of VM 0 has no place in a topology',
        'lost: .colors of memory region 0 of VM 0 has no place in a topology',
        'wrong: struct vm_mem_region has no field .colour',
      ]),
    );
  });

  it('tells of counts that do not count', () => {
    const regions = '(struct vm_mem_region[]) { { 0x1000, 0x1000 }, { 0x3000, 0x1000 } }';
    const wrong = (fields: string): readonly string[] =>
      imported(oneVm(fields)).notes.flatMap(({ kind, message }) => (kind === 'wrong' ? [message] : []));
    expect(wrong(`.region_num = 1, .regions = ${regions}`)).toEqual([
      'region_num is 1: Bao does not take the last 1 of regions',
    ]);
    expect(wrong(`.region_num = 3, .regions = ${regions}`)[0]).toContain('Bao would read past their end');
    expect(wrong(`.regions = ${regions}`)[0]).toContain('region_num is missing');
  });

  it('gives CPUs as Bao does: those preferred first, then free ones', () => {
    const vm = (affinity: string, cpus: number): string =>
      `{ .image = { .base_addr = 0, .load_addr = VM_IMAGE_OFFSET(v${cpus}) }, .cpu_affinity = ${affinity}, .platform = { .cpu_num = ${cpus}, .region_num = 1, .regions = (struct vm_mem_region[]) { { 0, 0x1000 } } } }`;
    const text = `struct config config = { .vmlist_size = 3, .vmlist = (struct vm_config[]) { ${vm('0x1', 2)}, ${vm('0x6', 1)}, ${vm('0', 1)} } };`;
    expect(topologyOfText(imported(text).text).topology.vms.map(({ cpus }) => cpus)).toEqual([[0, 2], [1], [3]]);
  });
});

describe('C that is no configuration', () => {
  const errorOf = (text: string): string => {
    const result = read(text, { board: 'zcu104' });
    if (result.ok) throw new Error('it was imported');
    return `${result.error.place?.line ?? '-'}: ${result.error.message}`;
  };

  it.each([
    ['nothing', '', '-: this is no configuration of Bao'],
    ['another program', 'int main(void) { return 0; }', '-: this is no configuration of Bao'],
    ['one that ends too early', region('0x1000').slice(0, -20), ': this is no C'],
    ['a name that nothing defines', region('BASE'), '6: nothing here defines BASE'],
    ['a call of what nothing defines', region('base_of(1)'), 'nothing here defines base_of()'],
    ['a name that is defined by itself', region('A', '#define A B\n#define B A\n'), 'is defined by itself'],
    ['a division by zero', region('1 / 0'), 'a division by zero'],
    ['a shift that would fill the memory', region('1 << 1000000000'), 'a shift by 1000000000 bits'],
    ['a number that no field holds', region('0x1ffffffffffffffff'), 'which has more than 64 bits'],
    ['a fraction', region('1.5'), '1.5 is no whole number'],
    ['more C than that', region('other[0].base'), 'is more C than a configuration may have'],
    ['a macro that is no value', region('A', '#define A if (x) {\n'), 'A stands for no value'],
    ['a condition of the preprocessor', region('0', '#if X > 1\n#define Y 1\n#endif\n'), 'run the file through `cpp`'],
    ['a list for a number', region('{ 1, 2 }'), 'a number is expected here'],
    ['a number for a list', oneVm('.region_num = 1, .regions = 7'), 'an array is expected here'],
    ['a number for a structure', 'struct config config = 7;', 'struct config is expected here'],
    [
      'an element beyond all sense',
      oneVm('.region_num = 1, .regions = (struct vm_mem_region[]) { [1 << 40] = { 0 } }'),
      'no element that a configuration could have',
    ],
    [
      'a type that is none',
      oneVm('.remio_dev_num = 1, .remio_devs = (struct remio_dev[]) { { .type = 2, .shmem = { 0 } } }'),
      'has type 2',
    ],
    ['brackets without end', `struct config config = ${'{'.repeat(100_000)}`, 'brackets are 64 deep here'],
    ['a board that nothing tells', '', 'this is no configuration'],
  ])('is refused, with its place: %s', (_, text, message) => {
    expect(errorOf(text)).toContain(message);
  });

  it('is refused before it is parsed where it is too large', () => {
    expect(errorOf(`struct config config = { };\n${'int x;\n'.repeat(1_000_000)}`)).toContain(
      'a configuration has at most',
    );
  });

  it('does not make more of a macro than a board could hold', () => {
    const doubling = Array.from({ length: 31 }, (_, n) => `#define M${n + 1} (M${n} + M${n})`).join('\n');
    expect(errorOf(region('M31', `#define M0 1\n${doubling}\n`))).toContain('more values than a board could hold');
  });

  it('of any kind is a topology or an error, never an exception', { timeout: 120_000 }, () => {
    const whole = demoConfig('zcu104');
    const place = fc.nat({ max: whole.length });
    const scraps = fc.constantFrom(
      '',
      '{',
      '}',
      '(',
      ')',
      ',',
      '=',
      '.',
      '"',
      '0x',
      '[9]',
      '#if',
      '/*',
      'config',
      '-1',
      '\n#define A A\n',
    );
    fc.assert(
      fc.property(place, fc.nat({ max: 200 }), scraps, (from, length, scrap) => {
        const text = whole.slice(0, from) + scrap + whole.slice(from + length);
        const result = read(text, { board: 'zcu104' });
        expect(result.ok ? result.value.text : result.error.message).not.toBe('');
      }),
      { numRuns: 100 },
    );
  });

  it('is refused where the board is not known', () => {
    const result = read(region('0'));
    expect(result).toMatchObject({ ok: false, error: { message: expect.stringContaining('--board') } });
  });

  it.each([
    ['no YAML', 'a: [', 'not YAML'],
    ['another file', 'board: zcu104', 'no sidecar'],
    [
      'aliases that multiply',
      `format: remio-sidecar/1\ntopology:\n  a: &a [x, x, x, x, x, x, x, x, x, x]\n${Array.from({ length: 9 }, (_, n) => `  ${'bcdefghij'[n]}: &${'bcdefghij'[n]} [${Array.from({ length: 10 }, () => `*${'abcdefghij'[n]}`).join(', ')}]`).join('\n')}\nshared_memories: []\nvms: []\n`,
      'alias',
    ],
  ])('a sidecar that is none is refused: %s', (_, text, message) => {
    const result = read(region('0'), { sidecar: { file: 'remio.yaml', text }, board: 'zcu104' });
    if (result.ok) throw new Error('it was imported');
    expect(result.error).toMatchObject({ file: 'remio.yaml' });
    expect(result.error.message).toContain(message);
  });
});
