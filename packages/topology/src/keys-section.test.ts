import { assert } from '@remio/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BUILTIN_PROGRAMS, EXAMPLE_TOPOLOGY, parseTopology, renderKeys, replaceKeys } from './index.js';

const [A, B, C, D] = [
  'rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7',
  'Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID',
  '6YLY(Fd8]b:Ja!}zv!lN%2p]dT0[NWyeYj7tqbzd',
  ']MsxUpq[[]dtsIZ.h%zm0vZ[3jYBKy/UTQdm&ZPp',
] as const;
const vms = new Map([
  ['backend', C],
  ['guest', D],
]);
const SECTION = renderKeys({ hypervisor: A, observer: B, vms });

const check = (text: string) =>
  parseTopology(text, 'test.yaml', {
    resolve: (path) => `/there/${path}`,
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });

function replaced(text: string, section = SECTION): string {
  const made = replaceKeys(text, section);
  assert(made.ok, 'the text can be changed');
  return made.value;
}

describe('the keys of a topology', () => {
  it('are those of its VMs, of the hypervisor and of observers', () => {
    const { topology, diagnostics } = check(replaced(EXAMPLE_TOPOLOGY));
    expect(diagnostics).toEqual([]);
    expect(topology?.keys).toEqual({ hypervisor: A, observer: B });
    expect(topology?.vms.map(({ name, key }) => [name, key])).toEqual([...vms]);
    expect(check(EXAMPLE_TOPOLOGY).topology?.keys).toBeUndefined();
  });

  it('are no part of the machine: peers whose files differ in them attach as before', () => {
    expect(check(replaced(EXAMPLE_TOPOLOGY)).topology?.digest).toBe(check(EXAMPLE_TOPOLOGY).topology?.digest);
  });

  it.each([
    ['two VMs with one key', SECTION.replace(D, () => C), 'keys.vms.guest', /VM guest has the key of VM backend/],
    ['a VM with the observers’ key', SECTION.replace(D, () => B), 'keys.vms.guest', /has the key of the observer/],
    ['a VM without one', SECTION.replace(/ {4}guest.*\n/, ''), 'keys.vms.guest', /VM guest has no key/],
    ['a VM that there is not', SECTION.replace('guest:', 'gest:'), 'keys.vms.gest', /no VM gest/],
    ['a key that is too short', SECTION.replace(D, D.slice(1)), 'keys.vms.guest', /40 characters/],
    ['a key that is all zeros', SECTION.replace(D, '0'.repeat(40)), 'keys.vms.guest', /no key that anybody can have/],
    ['no key of the hypervisor', SECTION.replace(/ {2}hypervisor.*\n/, ''), 'keys.hypervisor', /is missing/],
  ])('are an error with a place: %s', (_, section, path, message) => {
    const { topology, diagnostics } = check(replaced(EXAMPLE_TOPOLOGY, section));
    expect(topology).toBeUndefined();
    const found = diagnostics.find((diagnostic) => diagnostic.path === path);
    expect(found?.message).toMatch(message);
    expect(found?.place.line).toBeGreaterThan(EXAMPLE_TOPOLOGY.split('\n').length - 1);
  });
});

describe('putting keys into a file', () => {
  const before = `# first\n${EXAMPLE_TOPOLOGY.replaceAll('\n', ' # kept\n')}# last\n`;

  it('leaves all else as it is, comments too, wherever the section stands', () => {
    expect(replaced(before)).toBe(before + SECTION);
    const [head, tail] = before.split(/(?=^vms:)/m);
    const other = SECTION.replaceAll(/"[^"]*"/g, '"old" # of last year');
    const middle = `${head}# whose\n${other}# and then\n${tail}`;
    expect(replaced(middle)).toBe(`${head}# whose\n${SECTION}# and then\n${tail}`);
    expect(replaced(middle, '')).toBe(`${head}# whose\n# and then\n${tail}`);
    expect(replaced(`${head}keys: {} # none\n${tail}`)).toBe(`${head}${SECTION}${tail}`);
    expect(replaced(`${head}keys:\n${tail}`)).toBe(`${head}${SECTION}${tail}`);
  });

  it('adds a line end where the file has none, and puts the same there as often as it is done', () => {
    expect(replaced('board: zcu104')).toBe(`board: zcu104\n${SECTION}`);
    expect(replaced(replaced(before))).toBe(before + SECTION);
  });

  it.each(['{ board: zcu104 }', '[1]', '', 'a: [', 'x'])(
    'is refused where there are no lines of fields: %s',
    (text) => {
      expect(replaceKeys(text, SECTION)).toMatchObject({ ok: false });
    },
  );

  it('never throws, and what it makes has the keys that were put there', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.nat(before.length), (text, at) => {
        const made = replaceKeys(before.slice(0, at) + text + before.slice(at), SECTION);
        if (made.ok) expect(made.value).toContain(SECTION);
      }),
      { numRuns: 30 },
    );
  });
});
