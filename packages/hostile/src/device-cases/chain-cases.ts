import { VIRTQ_DESC_F_INDIRECT, VIRTQ_DESC_F_WRITE } from '@remio/virtio-spec';
import type { PlacedRequest } from '../hostile-driver.js';
import type { Piece } from '../raw-queue.js';
import { type DeviceCase, packedCase, requestCase, splitCase } from './device-case.js';

const HUGE = 0xffff_ffff;

/** The request with its first buffer changed. */
const withFirst = ({ pieces }: PlacedRequest, change: (first: Piece) => Partial<Piece>): readonly Piece[] =>
  pieces.map((piece, n) => (n === 0 ? { ...piece, ...change(piece) } : piece));

const first = ({ pieces: [piece] }: PlacedRequest): Piece => piece ?? { address: 0n, length: 0, flags: 0 };

/** A1 to A19: chains, buffers and indirect tables (2.7.4, 2.7.5, 2.8.4 to 2.8.7, 2.8.17 to 2.8.19). */
export const CHAIN_CASES: readonly DeviceCase[] = [
  splitCase(
    { id: 'A1', title: 'a descriptor that is its own next', clause: '2.7.5.3.1', expected: ['L'] },
    (queue, placed) => queue.put([{ ...first(placed), next: queue.nextDescriptor }]),
  ),
  splitCase({ id: 'A1', title: 'a cycle of two descriptors', clause: '2.7.5.3.1', expected: ['L'] }, (queue, placed) =>
    queue.put([first(placed), { ...first(placed), next: queue.nextDescriptor }]),
  ),
  packedCase(
    { id: 'A2', title: 'a list of NEXT that does not end', clause: '2.8.17', expected: ['L'] },
    (queue, placed) => queue.put(Array.from({ length: queue.config.size }, () => ({ ...first(placed), next: 0 }))),
  ),
  requestCase(
    { id: 'A2', title: 'a table longer than the queue', clause: '2.7.5.3.1, 2.8.17', expected: ['L'] },
    (queue, placed, driver) => {
      const length = queue.config.size + 1;
      const at = driver.allocate(16 * length);
      return queue.put([
        queue.table(
          at,
          Array.from({ length }, () => first(placed)),
        ),
      ]);
    },
  ),
  splitCase({ id: 'A3', title: 'next beyond the table', clause: '2.7.5', expected: ['L'] }, (queue, placed) =>
    queue.put([{ ...first(placed), next: queue.config.size }]),
  ),
  splitCase({ id: 'A3', title: 'next 65535', clause: '2.7.5', expected: ['L'] }, (queue, placed) =>
    queue.put([{ ...first(placed), next: 0xffff }]),
  ),
  requestCase({ id: 'A8', title: 'more than 2^32 bytes', clause: '2.7.5.2', expected: ['R'] }, (queue, placed) =>
    queue.put([
      { ...first(placed), length: HUGE },
      { ...first(placed), length: HUGE },
    ]),
  ),
  requestCase(
    { id: 'A9', title: 'a buffer of no bytes before the others', clause: '2.7.5', expected: ['C', 'R'] },
    (queue, placed) => queue.put([{ address: first(placed).address, length: 0, flags: 0 }, ...placed.pieces]),
  ),
  requestCase({ id: 'A9', title: 'a buffer of 2^32-1 bytes', clause: '2.7.5', expected: ['R'] }, (queue, placed) =>
    queue.put(withFirst(placed, () => ({ length: HUGE }))),
  ),
  requestCase({ id: 'A9', title: 'a buffer that wraps 2^64', clause: '2.7.5', expected: ['R'] }, (queue, placed) =>
    queue.put(withFirst(placed, () => ({ address: 0xffff_ffff_ffff_fff0n, length: 0x20 }))),
  ),
  requestCase(
    { id: 'A10', title: 'a buffer that begins before the memory', clause: '2.7.5', expected: ['R'] },
    (queue, placed, { memory }) => queue.put(withFirst(placed, () => ({ address: memory.base - 1n }))),
  ),
  requestCase(
    { id: 'A10', title: 'a buffer across the end of the memory', clause: '2.7.5', expected: ['R'] },
    (queue, placed, { memory }) =>
      queue.put(withFirst(placed, () => ({ address: memory.base + BigInt(memory.size) - 1n, length: 2 }))),
  ),
  requestCase({ id: 'A10', title: 'a buffer at address 0', clause: '2.7.5', expected: ['R'] }, (queue, placed) =>
    queue.put(withFirst(placed, () => ({ address: 0n }))),
  ),
  requestCase(
    { id: 'A11', title: 'a buffer to read that is the ring', clause: '2.7.5', expected: ['R', 'C'] },
    (queue, placed) =>
      queue.put([
        ...placed.readable,
        { address: queue.config.descriptorArea, length: 16, flags: 0 },
        ...placed.writable,
      ]),
  ),
  requestCase(
    { id: 'A11', title: 'a buffer to write that is the Device Area', clause: '2.7.5', expected: ['R', 'C'] },
    (queue, placed) =>
      queue.put([
        ...placed.readable,
        { address: queue.config.deviceArea, length: 4, flags: VIRTQ_DESC_F_WRITE },
        ...placed.writable,
      ]),
  ),
  requestCase(
    { id: 'A12', title: 'a buffer that is the device\u2019s own window', clause: '2.7.5', expected: ['R'] },
    (queue, placed, { target }) => queue.put(withFirst(placed, () => ({ address: target.window, length: 16 }))),
  ),
  requestCase(
    { id: 'A13', title: 'INDIRECT that was not negotiated', clause: '2.7.5.3.1, 2.8.19', expected: ['L'], ring: 0n },
    (queue, placed, driver) => queue.put([queue.table(driver.allocate(256), placed.pieces)]),
  ),
  splitCase(
    { id: 'A14', title: 'INDIRECT in a table', clause: '2.7.5.3.1', expected: ['L'] },
    (queue, placed, driver) => {
      const inner = queue.table(driver.allocate(256), placed.pieces);
      return queue.put([queue.table(driver.allocate(16), [inner])]);
    },
  ),
  splitCase(
    { id: 'A14', title: 'a table that refers to itself', clause: '2.7.5.3.1', expected: ['L'] },
    (queue, _, driver) => {
      const at = driver.allocate(16);
      const self = { address: at, length: 16, flags: VIRTQ_DESC_F_INDIRECT };
      return queue.put([queue.table(at, [self])]);
    },
  ),
  packedCase(
    { id: 'A14', title: 'INDIRECT in a table, where it means nothing', clause: '2.8.7', expected: ['C'] },
    (queue, { pieces }, driver) => {
      const marked = pieces.map((piece) => ({ ...piece, flags: piece.flags | VIRTQ_DESC_F_INDIRECT }));
      return queue.put([queue.table(driver.allocate(256), marked)]);
    },
  ),
  requestCase(
    { id: 'A15', title: 'INDIRECT and NEXT together', clause: '2.7.5.3.1, 2.8.19', expected: ['L'] },
    (queue, placed, driver) => queue.put([queue.table(driver.allocate(256), placed.pieces), first(placed)]),
  ),
  ...(
    [
      ['of no bytes', () => ({ length: 0 })],
      ['that is no multiple of 16', () => ({ length: 24 })],
      ['of almost 2^32 bytes', () => ({ length: 0xffff_fff0 })],
      ['outside the memory', () => ({ address: 0n })],
    ] as const
  ).map(([what, change]) =>
    requestCase(
      { id: 'A16', title: `a table ${what}`, clause: '2.7.5.3, 2.8.7', expected: ['L'] },
      (queue, placed, driver) => queue.put([{ ...queue.table(driver.allocate(256), placed.pieces), ...change() }]),
    ),
  ),
  splitCase(
    { id: 'A16', title: 'next beyond an indirect table', clause: '2.7.5', expected: ['L'] },
    (queue, placed, driver) => queue.put([queue.table(driver.allocate(256), [{ ...first(placed), next: 7 }])]),
  ),
  splitCase(
    { id: 'A16', title: 'a loop in an indirect table', clause: '2.7.5.3.1', expected: ['L'] },
    (queue, placed, driver) => queue.put([queue.table(driver.allocate(256), [{ ...first(placed), next: 0 }])]),
  ),
  splitCase(
    { id: 'A17', title: 'a descriptor, then an indirect table', clause: '2.7.5.3.2', expected: ['C'] },
    (queue, placed, driver) => {
      const [head, ...rest] = placed.pieces;
      if (head === undefined || rest.length === 0) return queue.put(placed.pieces);
      return queue.put([head, queue.table(driver.allocate(256), rest)]);
    },
  ),
  packedCase(
    { id: 'A17', title: 'a descriptor, then an indirect table', clause: '2.8.19', expected: ['L'] },
    (queue, placed, driver) => queue.put([first(placed), queue.table(driver.allocate(256), placed.pieces)]),
  ),
  requestCase(
    { id: 'A18', title: 'WRITE on the indirect entry', clause: '2.7.5.3.2, 2.8.7', expected: ['C'] },
    (queue, placed, driver) => {
      const table = queue.table(driver.allocate(256), placed.pieces);
      return queue.put([{ ...table, flags: table.flags | VIRTQ_DESC_F_WRITE }]);
    },
  ),
  requestCase(
    { id: 'A19', title: 'a buffer to read after one to write', clause: '2.7.4.2, 2.8.17', expected: ['R'] },
    (queue, placed, driver) => {
      const room = { address: driver.allocate(16), length: 16, flags: VIRTQ_DESC_F_WRITE };
      const late = { address: driver.allocate(16), length: 16, flags: 0 };
      return queue.put([...(placed.writable.length > 0 ? placed.writable : [room]), ...placed.readable, late]);
    },
  ),
];
