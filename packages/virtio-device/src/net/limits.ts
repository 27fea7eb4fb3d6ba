/** Bytes of an Ethernet header, and of a VLAN tag in it. */
export const ETHERNET_HEADER = 14;
const VLAN_TAG = 4;
const ETHERTYPE_VLAN = 0x8100;

/** Longest frame that is not to be segmented (5.1.4.1), bytes: a tag does not count against the MTU. */
export const frameMax = (mtu: number, etherType: number): number =>
  mtu + ETHERNET_HEADER + (etherType === ETHERTYPE_VLAN ? VLAN_TAG : 0);

/** Counters of a network device. What is lost is counted by why. */
export type NetCounters = {
  txFrames: number;
  txBytes: number;
  /** The driver broke a rule: header too short or senseless, frame too long or too short, bad buffers. */
  txInvalid: number;
  /** The port did not take it. */
  txLost: number;
  rxFrames: number;
  rxBytes: number;
  /** Not wanted by the driver's filter. */
  rxFiltered: number;
  /** Longer than the MTU, or than everything that the driver could post. */
  rxOversize: number;
  /** Buffers that the driver posted and no frame fits in: readable, or shorter than a header. */
  rxInvalid: number;
};

export const newCounters = (): NetCounters => ({
  txFrames: 0,
  txBytes: 0,
  txInvalid: 0,
  txLost: 0,
  rxFrames: 0,
  rxBytes: 0,
  rxFiltered: 0,
  rxOversize: 0,
  rxInvalid: 0,
});
