import { MAC_BYTES, type Mac, macAt } from '@remio/ethernet';
import {
  hasFeature,
  NET_CTRL_HEADER_SIZE,
  VIRTIO_NET_CTRL_ANNOUNCE,
  VIRTIO_NET_CTRL_ANNOUNCE_ACK,
  VIRTIO_NET_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
  VIRTIO_NET_CTRL_MAC,
  VIRTIO_NET_CTRL_MAC_ADDR_SET,
  VIRTIO_NET_CTRL_MAC_TABLE_SET,
  VIRTIO_NET_CTRL_MQ,
  VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET,
  VIRTIO_NET_CTRL_RX,
  VIRTIO_NET_CTRL_RX_ALLMULTI,
  VIRTIO_NET_CTRL_RX_ALLUNI,
  VIRTIO_NET_CTRL_RX_NOBCAST,
  VIRTIO_NET_CTRL_RX_NOMULTI,
  VIRTIO_NET_CTRL_RX_NOUNI,
  VIRTIO_NET_CTRL_RX_PROMISC,
  VIRTIO_NET_CTRL_VLAN,
  VIRTIO_NET_CTRL_VLAN_ADD,
  VIRTIO_NET_CTRL_VLAN_DEL,
  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS,
  VIRTIO_NET_F_CTRL_MAC_ADDR,
  VIRTIO_NET_F_CTRL_RX,
  VIRTIO_NET_F_CTRL_RX_EXTRA,
  VIRTIO_NET_F_CTRL_VLAN,
  VIRTIO_NET_F_GUEST_ANNOUNCE,
  VIRTIO_NET_F_MQ,
} from '@remio/virtio-spec';
import type { RxFilter } from './rx-filter.js';

/** Longest command, bytes: two tables of as many addresses as are kept. */
const TABLE_MAX = 1024;
export const CONTROL_BYTES_MAX = NET_CTRL_HEADER_SIZE + 2 * 4 + 2 * TABLE_MAX * MAC_BYTES;

/** What commands change besides the filter. */
export interface ControlTarget {
  readonly filter: RxFilter;
  /** Negotiated. */
  readonly features: bigint;
  setMac(mac: Mac): void;
  /** False: there are not so many. */
  setPairs(pairs: number): boolean;
  /** Feature bits of the offloads that the driver accepts from now on; false: one was not negotiated. */
  setOffloads(offloads: bigint): boolean;
  announced(): void;
}

/** Flags of the RX class, by command, with the feature that each needs. */
const RX_MODES = {
  [VIRTIO_NET_CTRL_RX_PROMISC]: ['promiscuous', VIRTIO_NET_F_CTRL_RX],
  [VIRTIO_NET_CTRL_RX_ALLMULTI]: ['allMulticast', VIRTIO_NET_F_CTRL_RX],
  [VIRTIO_NET_CTRL_RX_ALLUNI]: ['allUnicast', VIRTIO_NET_F_CTRL_RX_EXTRA],
  [VIRTIO_NET_CTRL_RX_NOMULTI]: ['noMulticast', VIRTIO_NET_F_CTRL_RX_EXTRA],
  [VIRTIO_NET_CTRL_RX_NOUNI]: ['noUnicast', VIRTIO_NET_F_CTRL_RX_EXTRA],
  [VIRTIO_NET_CTRL_RX_NOBCAST]: ['noBroadcast', VIRTIO_NET_F_CTRL_RX_EXTRA],
} as const;

/**
 * Carries out a command of the control queue (5.1.9.5).
 * @param command class, command and their data, as the driver wrote them
 * @returns whether to answer VIRTIO_NET_OK; a command that is refused changed nothing
 */
export function control(command: Uint8Array, target: ControlTarget): boolean {
  if (command.length < NET_CTRL_HEADER_SIZE || command.length > CONTROL_BYTES_MAX) return false;
  const data = command.subarray(NET_CTRL_HEADER_SIZE);
  const code = command[1] ?? 0;
  const has = (feature: number): boolean => hasFeature(target.features, feature);
  switch (command[0]) {
    case VIRTIO_NET_CTRL_RX:
      return setMode(code, data, target);
    case VIRTIO_NET_CTRL_MAC:
      return setMac(code, data, target);
    case VIRTIO_NET_CTRL_VLAN:
      return has(VIRTIO_NET_F_CTRL_VLAN) && setVlan(code, data, target.filter);
    case VIRTIO_NET_CTRL_ANNOUNCE:
      if (!has(VIRTIO_NET_F_GUEST_ANNOUNCE) || code !== VIRTIO_NET_CTRL_ANNOUNCE_ACK) return false;
      target.announced();
      return true;
    case VIRTIO_NET_CTRL_MQ:
      return (
        has(VIRTIO_NET_F_MQ) &&
        code === VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET &&
        data.length === 2 &&
        target.setPairs(viewOf(data).getUint16(0, true))
      );
    case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
      return (
        has(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) &&
        code === VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET &&
        data.length === 8 &&
        target.setOffloads(viewOf(data).getBigUint64(0, true))
      );
    default:
      return false;
  }
}

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const isMode = (code: number): code is keyof typeof RX_MODES => Object.hasOwn(RX_MODES, code);

function setMode(code: number, data: Uint8Array, { filter, features }: ControlTarget): boolean {
  const [on] = data;
  if (!isMode(code) || data.length !== 1 || on === undefined || on > 1) return false;
  const [mode, feature] = RX_MODES[code];
  if (!hasFeature(features, feature)) return false;
  filter[mode] = on === 1;
  return true;
}

function setMac(code: number, data: Uint8Array, target: ControlTarget): boolean {
  if (code === VIRTIO_NET_CTRL_MAC_ADDR_SET) {
    if (!hasFeature(target.features, VIRTIO_NET_F_CTRL_MAC_ADDR) || data.length !== MAC_BYTES) return false;
    target.setMac(macAt(data, 0));
    return true;
  }
  if (code !== VIRTIO_NET_CTRL_MAC_TABLE_SET || !hasFeature(target.features, VIRTIO_NET_F_CTRL_RX)) return false;
  const unicast = readTable(data, 0);
  if (unicast === undefined) return false;
  const multicast = readTable(data, unicast.end);
  if (multicast === undefined || multicast.end !== data.length) return false;
  target.filter.setTable(unicast.macs, multicast.macs);
  return true;
}

/** `struct virtio_net_ctrl_mac` at a place; undefined if it does not fit. */
function readTable(data: Uint8Array, at: number): { readonly macs: readonly Mac[]; readonly end: number } | undefined {
  if (at + 4 > data.length) return undefined;
  const entries = viewOf(data).getUint32(at, true);
  if (entries > TABLE_MAX || at + 4 + entries * MAC_BYTES > data.length) return undefined;
  const macs = Array.from({ length: entries }, (_, n) => macAt(data, at + 4 + n * MAC_BYTES));
  return { macs, end: at + 4 + entries * MAC_BYTES };
}

function setVlan(code: number, data: Uint8Array, filter: RxFilter): boolean {
  if (data.length !== 2) return false;
  const id = viewOf(data).getUint16(0, true);
  if (code === VIRTIO_NET_CTRL_VLAN_ADD) filter.addVlan(id);
  else if (code === VIRTIO_NET_CTRL_VLAN_DEL) filter.removeVlan(id);
  else return false;
  return true;
}
