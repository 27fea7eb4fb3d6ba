import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseDocument } from 'yaml';
import { Commented, Hex, Size, type YamlValue, yamlText } from './yaml-text.js';

const read = (text: string): unknown => parseDocument(text, { intAsBigInt: true }).toJS();

const value: fc.Arbitrary<YamlValue> = fc.letrec<{ value: YamlValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom(
      'yes',
      '~',
      '0x10',
      '1e3',
      '- a',
      'a: b',
      '#',
      '',
      ' ',
      '12:30',
      '.5',
      '../a.img',
      '30s',
      'NULL',
      '.nan',
      '<<',
    ),
    fc.bigInt({ min: -(1n << 64n), max: 1n << 64n }),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value')),
    fc.dictionary(
      fc.string().filter((key) => key !== '__proto__'),
      tie('value'),
    ),
  ),
})).value;

describe('a YAML file of ours', () => {
  it('is read as what was written, whatever that is', () => {
    fc.assert(
      fc.property(value, value, (a, b) => {
        expect(read(yamlText({ a, list: [a, b], map: { b } }, 'head'))).toEqual({ a, list: [a, b], map: { b } });
      }),
    );
  });

  it('has comments above what they are of, addresses in hexadecimal, and what is short on one line', () => {
    const long = 'x'.repeat(80);
    const text = yamlText(
      {
        board: 'zcu104',
        vms: {
          a: new Commented({ memory: [{ base: new Hex(16n), size: new Size(65_536n) }], cpus: [0n, 1n] }, 'one\ntwo'),
          b: { list: [new Commented({ name: long, other: new Commented(1n, 'inner') }, 'of the item')] },
        },
      },
      'The head',
    );
    expect(text).toBe(`# The head
board: zcu104
vms:
  # one
  # two
  a: { memory: [{ base: 0x10, size: 64KiB }], cpus: [0, 1] }
  b:
    list:
      # of the item
      - name: ${long}
        # inner
        other: 1
`);
  });
});
