import { MalformedFrame } from './frame-bytes.js';

/** How deep a plain value nests, and of how many parts it consists, at most. */
const DEPTH_MAX = 32;
const PARTS_MAX = 1 << 20;

/**
 * What programs report, observers ask and the hypervisor answers: nothing, truth values, numbers, 64-bit integers,
 * texts, bytes, and lists and maps of such. MessagePack's extensions can carry more (dates, cycles, integers of any
 * size), which could not be sent on.
 * @throws MalformedFrame for anything else
 */
export function plainValue(value: unknown): unknown {
  let parts = 0;
  const check = (part: unknown, depth: number): void => {
    parts += 1;
    if (depth > DEPTH_MAX || parts > PARTS_MAX) throw new MalformedFrame('a value that is too deep or too large');
    switch (typeof part) {
      case 'undefined':
      case 'boolean':
      case 'number':
      case 'string':
        return;
      case 'bigint':
        if (part !== BigInt.asIntN(64, part) && part !== BigInt.asUintN(64, part)) break;
        return;
      case 'object':
        if (part === null || part instanceof Uint8Array) return;
        if (Array.isArray(part)) {
          for (const element of part) check(element, depth + 1);
          return;
        }
        if (Object.getPrototypeOf(part) !== Object.prototype) break;
        for (const element of Object.values(part)) check(element, depth + 1);
        return;
    }
    throw new MalformedFrame('a value that is not plain');
  };
  check(value, 0);
  return value;
}
