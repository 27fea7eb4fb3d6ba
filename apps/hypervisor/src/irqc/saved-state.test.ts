import { enableInterruptSequence, type InterruptController, type MmioAccess } from '@remio/arch';
import { type AccessWidth, guestAddress } from '@remio/base';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createIrqController, type IrqController } from './index.js';

const CONTROLLERS: readonly (readonly [name: string, controller: InterruptController, base: bigint])[] = [
  ['vGICv2', { kind: 'gicv2', gicd: 0xf901_0000n, gicc: 0xf902_f000n }, 0xf901_0000n],
  ['vGICv3', { kind: 'gicv3', gicd: 0x0800_0000n, gicr: 0x080a_0000n }, 0x0800_0000n],
  ['vPLIC', { kind: 'plic', base: 0x0c00_0000n }, 0x0c00_0000n],
  ['vAPLIC', { kind: 'aia', aplic: 0x0d00_0000n, imsic: 0x2800_0000n }, 0x0d00_0000n],
];
const VCPUS = 2;

/** What happens to a controller: an interrupt, a guest's steps to enable one, or any access to its registers. */
type Event =
  | { readonly kind: 'inject'; readonly irq: number; readonly receiver: number }
  | { readonly kind: 'enable'; readonly irq: number; readonly vcpu: number }
  | { readonly kind: 'access'; readonly offset: number; readonly write: boolean; readonly value: number };

const irq = fc.integer({ min: 0, max: 70 });
const vcpu = fc.integer({ min: 0, max: VCPUS - 1 });
/** Registers that decide something lie near these offsets. */
const offset = fc
  .tuple(fc.constantFrom(0, 0x100, 0x180, 0x200, 0x800, 0x1edc, 0x1fdc, 0x2080, 0x3004, 0x6100, 0x20_1000), fc.nat(40))
  .map(([from, words]) => from + 4 * words);
const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({ kind: fc.constant('inject' as const), irq, receiver: vcpu }),
  fc.record({ kind: fc.constant('enable' as const), irq, vcpu }),
  fc.record({
    kind: fc.constant('access' as const),
    offset,
    write: fc.boolean(),
    value: fc.oneof(fc.nat(80), fc.nat(0xffff_ffff)),
  }),
);

const access = (address: bigint, width: AccessWidth, write: boolean, value: bigint): MmioAccess => ({
  address: guestAddress(address),
  width,
  write,
  register: 9,
  value,
  signExtend: false,
  registerWidth: 8,
});

/** Lets an event happen; returns everything that it did. */
function happen(controller: InterruptController, base: bigint, irqc: IrqController, at: Event): unknown {
  switch (at.kind) {
    case 'inject':
      return irqc.inject(at.irq, at.receiver, () => {});
    case 'enable':
      return enableInterruptSequence(controller, Math.max(1, at.irq), at.vcpu).map(({ address, width, value }) =>
        irqc.mmio(at.vcpu, access(address, width, true, value)),
      );
    case 'access':
      return irqc.mmio(0, access(base + BigInt(at.offset), 4, at.write, BigInt(at.value)));
  }
}

const make = (controller: InterruptController): IrqController => createIrqController(controller, VCPUS, 'hardened');
const plain = (irqc: IrqController): Record<string, unknown> =>
  JSON.parse(JSON.stringify(irqc.save())) as Record<string, unknown>;

describe.each(CONTROLLERS)('a saved %s', (_, controller, base) => {
  it('goes on as it would have, wherever it was saved', () => {
    const events = fc.array(event, { maxLength: 40 });
    fc.assert(
      fc.property(events, events, (before, after) => {
        const irqc = make(controller);
        for (const at of before) happen(controller, base, irqc, at);
        const copy = make(controller);
        expect(copy.restore(plain(irqc))).toEqual({ ok: true, value: undefined });
        for (const at of after) {
          expect(happen(controller, base, copy, at)).toEqual(happen(controller, base, irqc, at));
        }
        expect(copy.save()).toEqual(irqc.save());
      }),
    );
  });

  it('replaces what the controller was, all of it', () => {
    const irqc = make(controller);
    for (const { address, width, value } of enableInterruptSequence(controller, 40, 1)) {
      irqc.mmio(1, access(address, width, true, value));
    }
    irqc.inject(41, 0, () => {});
    expect(irqc.restore(plain(make(controller)))).toMatchObject({ ok: true });
    expect(irqc.save()).toEqual(make(controller).save());
  });

  it.each<[string, (state: Record<string, unknown>) => unknown, string]>([
    ['that is of another controller', (state) => ({ ...state, kind: 'pic' }), 'kind'],
    ['with an interrupt that it does not have', (state) => ({ ...state, pending: [4096] }), 'pending[0]'],
    ['with an interrupt that is pending twice', (state) => ({ ...state, pending: [40, 40] }), 'pending[1]'],
    ['with a negative interrupt', (state) => ({ ...state, pending: [-1] }), 'pending[0]'],
    ['without what is pending', ({ pending: _pending, ...state }) => state, 'pending'],
    ['that is nothing', () => null, 'state'],
  ])('is refused %s', (_what, change, place) => {
    const irqc = make(controller);
    expect(irqc.restore(change(plain(irqc)))).toEqual({ ok: false, error: expect.stringContaining(place) });
  });

  it('is refused with a register that holds more than it can', () => {
    const tables = { gicv2: 'target', gicv3: 'target', plic: 'priority', aia: 'sourcecfg' } as const;
    const field = tables[controller.kind];
    const irqc = make(controller);
    for (const table of [
      [[40, 256]],
      [[4096, 1]],
      [[40, 0]],
      [[40, 1, 1]],
      [
        [40, 1],
        [40, 2],
      ],
    ]) {
      const refused = irqc.restore({ ...plain(irqc), [field]: table });
      expect(refused).toEqual({ ok: false, error: expect.stringContaining(`${field}[`) });
    }
  });
});
