import { be16, be32 } from './bytes.js';

/** Bytes of a frame's start that {@link flowHash} looks at: Ethernet with a VLAN tag, IPv6, ports. */
export const FLOW_HEAD_BYTES = 64;

const ETHERTYPE_VLAN = 0x8100;
const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_IPV6 = 0x86dd;
const PROTOCOL_TCP = 6;
const PROTOCOL_UDP = 17;

/**
 * A number of 32 bits that the frames of a flow have in common, in both directions: sender and receiver are mixed by
 * operations that do not tell them apart.
 * @param head the frame's first bytes
 * @param length how many there are
 */
export function flowHash(head: Uint8Array, length: number): number {
  const l3 = length >= 18 && be16(head, 12) === ETHERTYPE_VLAN ? 18 : 14;
  const type = be16(head, l3 - 2);
  let hash = 0;
  let ports = -1;
  if (type === ETHERTYPE_IPV4 && length >= l3 + 20) {
    hash = be32(head, l3 + 12) ^ be32(head, l3 + 16);
    const protocol = head[l3 + 9] ?? 0;
    const fragment = be16(head, l3 + 6) & 0x3fff;
    hash ^= protocol;
    if ((protocol === PROTOCOL_TCP || protocol === PROTOCOL_UDP) && fragment === 0) {
      ports = l3 + 4 * ((head[l3] ?? 0) & 0xf);
    }
  } else if (type === ETHERTYPE_IPV6 && length >= l3 + 40) {
    for (let word = 8; word < 40; word += 4) hash ^= be32(head, l3 + word);
    const next = head[l3 + 6] ?? 0;
    hash ^= next;
    if (next === PROTOCOL_TCP || next === PROTOCOL_UDP) ports = l3 + 40;
  } else {
    hash = be32(head, 2) ^ be32(head, 8) ^ be16(head, 0) ^ be16(head, 6);
  }
  if (ports >= 0 && ports + 4 <= length) hash ^= be16(head, ports) ^ be16(head, ports + 2);
  // Every bit of the input moves some of the low ones.
  const mixed = Math.imul(hash ^ (hash >>> 16), 0x7feb_352d);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

const TABLE_SIZE = 256;

/** Automatic receive steering (5.1.9.5.6): a flow's frames come where frames of it were sent last. */
export class FlowSteering {
  readonly #lane = new Uint16Array(TABLE_SIZE);
  readonly #known = new Uint8Array(TABLE_SIZE);
  #lanes = 1;

  get lanes(): number {
    return this.#lanes;
  }

  /** How many lanes there are from now on; what was learnt is forgotten. */
  setLanes(lanes: number): void {
    this.#lanes = lanes;
    this.#known.fill(0);
  }

  /** A frame was sent on a lane. */
  sent(lane: number, head: Uint8Array, length: number): void {
    if (this.#lanes === 1) return;
    const at = flowHash(head, length) % TABLE_SIZE;
    this.#lane[at] = lane;
    this.#known[at] = 1;
  }

  /** The lane for a frame that comes in. */
  laneOf(head: Uint8Array, length: number): number {
    if (this.#lanes === 1) return 0;
    const hash = flowHash(head, length);
    const at = hash % TABLE_SIZE;
    const lane = this.#known[at] === 1 ? (this.#lane[at] ?? 0) : hash % this.#lanes;
    return lane < this.#lanes ? lane : 0;
  }
}
