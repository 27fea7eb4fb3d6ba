import { BROADCAST, be16, isGroup, type Mac, macAt } from '@remio/ethernet';

const ETHERTYPE_VLAN = 0x8100;
const VLAN_ID_MASK = 0xfff;

/** What of incoming frames the driver wants (5.1.9.5.1 to 5.1.9.5.3). */
export class RxFilter {
  /** The device's own address. */
  mac: Mac;
  /** Every frame, whatever else is set. */
  promiscuous = true;
  allMulticast = false;
  allUnicast = false;
  noMulticast = false;
  noUnicast = false;
  noBroadcast = false;
  #unicast = new Set<Mac>();
  #multicast = new Set<Mac>();
  /** VLANs that the driver wants; undefined: all, the feature was not negotiated. */
  #vlans: Set<number> | undefined;

  constructor(mac: Mac) {
    this.mac = mac;
  }

  /**
   * The state after DRIVER_OK: empty tables.
   * @param filters the driver negotiated CTRL_RX; one that did not gets every frame
   * @param vlans the driver negotiated CTRL_VLAN
   */
  reset(filters: boolean, vlans: boolean): void {
    this.promiscuous = !filters;
    this.allMulticast = false;
    this.allUnicast = false;
    this.noMulticast = false;
    this.noUnicast = false;
    this.noBroadcast = false;
    this.#unicast = new Set();
    this.#multicast = new Set();
    this.#vlans = vlans ? new Set() : undefined;
  }

  setTable(unicast: readonly Mac[], multicast: readonly Mac[]): void {
    this.#unicast = new Set(unicast);
    this.#multicast = new Set(multicast);
  }

  addVlan(id: number): void {
    this.#vlans?.add(id & VLAN_ID_MASK);
  }

  removeVlan(id: number): void {
    this.#vlans?.delete(id & VLAN_ID_MASK);
  }

  /** Whether a frame is wanted; `head` are its first bytes, 18 or all of it. */
  wants(head: Uint8Array): boolean {
    if (be16(head, 12) === ETHERTYPE_VLAN && this.#vlans?.has(be16(head, 14) & VLAN_ID_MASK) === false) return false;
    if (this.promiscuous) return true;
    const destination = macAt(head, 0);
    if (destination === BROADCAST) return !this.noBroadcast;
    if (isGroup(destination)) {
      return !this.noMulticast && (this.allMulticast || this.#multicast.has(destination));
    }
    return !this.noUnicast && (this.allUnicast || destination === this.mac || this.#unicast.has(destination));
  }
}
