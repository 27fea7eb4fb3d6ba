import { be16 } from '../bytes.js';
import { BROADCAST, isGroup, type Mac, macAt } from '../mac.js';
import { broadcastOf, IPV4_BROADCAST, type Ipv4, type Ipv4Interface, onLink } from './ipv4.js';
import {
  ARP_REPLY,
  ARP_REQUEST,
  arpFrame,
  ETHERNET_HEADER,
  ETHERTYPE_ARP,
  ETHERTYPE_IPV4,
  ICMP_ECHO,
  ICMP_ECHO_REPLY,
  ICMP_HEADER,
  IPV4_HEADER,
  IPV4_PAYLOAD,
  type Ipv4Packet,
  ipv4Frame,
  PROTOCOL_ICMP,
  PROTOCOL_UDP,
  parseArp,
  parseEcho,
  parseIpv4Packet,
  parseUdp,
  putEcho,
  putUdp,
  UDP_HEADER,
} from './packets.js';

/** Neighbours that are known at most, packets that wait for one, and requests until they are given up. */
const NEIGHBOURS_MAX = 256;
const WAITING_MAX = 8;
const REQUESTS_MAX = 5;

export interface StackOptions extends Ipv4Interface {
  readonly mac: Mac;
  /** Longest IPv4 packet, bytes. */
  readonly mtu: number;
}

/** What a stack does outside. */
export interface StackEvents {
  /** Sends a frame whose checksums are whole; false if it was lost. */
  send(frame: Uint8Array): boolean;
  /** An answer to {@link NetStack.ping}. */
  echoReply?(from: Ipv4, id: number, sequence: number, data: Uint8Array): void;
  /** A datagram; `data` is valid during the call. */
  datagram?(from: Ipv4, sourcePort: number, destinationPort: number, data: Uint8Array): void;
}

export interface StackCounters {
  /** Frames that were for this station. */
  received: number;
  /** Broken, or of protocols that are not spoken here. */
  ignored: number;
  echoesAnswered: number;
  /** Lost because no neighbour answered, or because nothing more was taken for sending. */
  unsent: number;
}

/** Packets for a neighbour whose address is not known yet. */
interface Waiting {
  readonly frames: Uint8Array[];
  requests: number;
}

/**
 * A station with one IPv4 address: answers ARP and pings, sends pings and datagrams. For frontends without a kernel of
 * their own. Whatever comes in is checked before it is used, and what is kept is bounded.
 */
export class NetStack {
  readonly counters: StackCounters = { received: 0, ignored: 0, echoesAnswered: 0, unsent: 0 };
  readonly #options: StackOptions;
  readonly #events: StackEvents;
  readonly #neighbours = new Map<Ipv4, Mac>();
  readonly #waiting = new Map<Ipv4, Waiting>();
  #id = 0;

  constructor(options: StackOptions, events: StackEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** Most bytes of data in a ping or datagram. */
  get dataMax(): number {
    return this.#options.mtu - IPV4_HEADER - Math.max(ICMP_HEADER, UDP_HEADER);
  }

  /** Whether packets wait for a neighbour's address: call {@link retry} now and then. */
  get waiting(): boolean {
    return this.#waiting.size > 0;
  }

  /** Whether a neighbour's address is known: packets to it wait for nothing. */
  knows(address: Ipv4): boolean {
    return this.#neighbours.has(address);
  }

  /**
   * Takes a frame in.
   * @param verified its checksum needs no check: the header that came with it said so
   */
  input(frame: Uint8Array, verified = false): void {
    const { mac } = this.#options;
    const to = macAt(frame, 0);
    if (frame.length < ETHERNET_HEADER || (to !== mac && to !== BROADCAST)) return;
    this.counters.received += 1;
    const understood = this.#dispatch(frame, verified);
    if (!understood) this.counters.ignored += 1;
  }

  /** Asks for a neighbour's address, if it is not known; {@link retry} asks again. */
  resolve(address: Ipv4): void {
    if (this.knows(address) || this.#waiting.has(address) || !onLink(this.#options, address)) return;
    if (this.#waiting.size < NEIGHBOURS_MAX) this.#ask(address, []);
  }

  /** Asks a station for an echo (RFC 792). */
  ping(to: Ipv4, id: number, sequence: number, data: Uint8Array): void {
    const frame = this.#packet(PROTOCOL_ICMP, to, ICMP_HEADER + data.length);
    putEcho(frame, IPV4_PAYLOAD, { type: ICMP_ECHO, id, sequence, data });
    this.#route(to, frame);
  }

  /** Sends a datagram. */
  send(sourcePort: number, to: Ipv4, destinationPort: number, data: Uint8Array): void {
    const frame = this.#packet(PROTOCOL_UDP, to, UDP_HEADER + data.length);
    const addresses = { source: this.#options.address, destination: to };
    putUdp(frame, IPV4_PAYLOAD, addresses, { sourcePort, destinationPort, data });
    this.#route(to, frame);
  }

  /** A gratuitous ARP request (RFC 5227): whoever hears it learns where this station is. */
  announce(): void {
    this.#arp(BROADCAST, ARP_REQUEST, this.#options.address);
  }

  /** Asks again for neighbours that did not answer; gives up what waited too long. */
  retry(): void {
    for (const [address, waiting] of this.#waiting) {
      waiting.requests += 1;
      if (waiting.requests > REQUESTS_MAX) {
        this.#waiting.delete(address);
        this.counters.unsent += waiting.frames.length;
      } else this.#arp(BROADCAST, ARP_REQUEST, address);
    }
  }

  #dispatch(frame: Uint8Array, verified: boolean): boolean {
    switch (be16(frame, 12)) {
      case ETHERTYPE_ARP:
        return this.#arpInput(frame);
      case ETHERTYPE_IPV4: {
        const packet = parseIpv4Packet(frame);
        return packet !== undefined && this.#ipv4Input(packet, macAt(frame, 6), verified);
      }
      default:
        return false;
    }
  }

  #arpInput(frame: Uint8Array): boolean {
    const arp = parseArp(frame);
    // Nobody is at a group's address, nor at ours but we.
    if (arp === undefined || isGroup(arp.senderMac) || arp.sender === this.#options.address) return false;
    const forUs = arp.target === this.#options.address;
    // RFC 826: what is known is corrected by every packet; new neighbours are those who want us.
    if (forUs || this.#neighbours.has(arp.sender)) this.#learn(arp.sender, arp.senderMac);
    if (forUs && arp.operation === ARP_REQUEST) this.#arp(arp.senderMac, ARP_REPLY, arp.sender);
    return forUs;
  }

  #learn(address: Ipv4, mac: Mac): void {
    // A map keeps the order of insertion: the oldest goes.
    this.#neighbours.delete(address);
    if (this.#neighbours.size >= NEIGHBOURS_MAX) {
      const [oldest] = this.#neighbours.keys();
      if (oldest !== undefined) this.#neighbours.delete(oldest);
    }
    this.#neighbours.set(address, mac);
    const waiting = this.#waiting.get(address);
    if (waiting === undefined) return;
    this.#waiting.delete(address);
    for (const frame of waiting.frames) this.#transmit(frame, mac);
  }

  #ipv4Input(packet: Ipv4Packet, from: Mac, verified: boolean): boolean {
    const { address } = this.#options;
    const unicast = packet.destination === address;
    const broadcast = packet.destination === IPV4_BROADCAST || packet.destination === broadcastOf(this.#options);
    if (!unicast && !broadcast) return false;
    if (packet.protocol === PROTOCOL_ICMP && unicast) return this.#icmpInput(packet, from);
    if (packet.protocol !== PROTOCOL_UDP) return false;
    const udp = parseUdp(packet, verified);
    if (udp === undefined) return false;
    this.#events.datagram?.(packet.source, udp.sourcePort, udp.destinationPort, udp.data);
    return true;
  }

  #icmpInput(packet: Ipv4Packet, from: Mac): boolean {
    const echo = parseEcho(packet.payload);
    if (echo === undefined) return false;
    if (echo.type === ICMP_ECHO_REPLY) {
      this.#events.echoReply?.(packet.source, echo.id, echo.sequence, echo.data);
      return true;
    }
    if (isGroup(from) || packet.payload.length > this.#options.mtu - IPV4_HEADER) return false;
    const frame = this.#packet(PROTOCOL_ICMP, packet.source, packet.payload.length);
    putEcho(frame, IPV4_PAYLOAD, { ...echo, type: ICMP_ECHO_REPLY });
    this.#transmit(frame, from);
    this.counters.echoesAnswered += 1;
    return true;
  }

  /** A frame from here, its receiver's address not yet written. */
  #packet(protocol: number, destination: Ipv4, length: number): Uint8Array {
    this.#id = (this.#id + 1) & 0xffff;
    const { mac, address } = this.#options;
    return ipv4Frame({ to: 0, from: mac }, { protocol, source: address, destination, id: this.#id }, length);
  }

  /** Sends a frame to a station, once its address is known. There is no gateway: stations are on the link, or unknown. */
  #route(to: Ipv4, frame: Uint8Array): void {
    const options = this.#options;
    if (frame.length > options.mtu + ETHERNET_HEADER) {
      this.counters.unsent += 1;
      return;
    }
    const broadcast = to === IPV4_BROADCAST || to === broadcastOf(options);
    const mac = broadcast ? BROADCAST : this.#neighbours.get(to);
    if (mac !== undefined) {
      this.#transmit(frame, mac);
      return;
    }
    const waiting = this.#waiting.get(to);
    if (waiting !== undefined && waiting.frames.length < WAITING_MAX) waiting.frames.push(frame);
    else if (waiting === undefined && onLink(options, to) && this.#waiting.size < NEIGHBOURS_MAX)
      this.#ask(to, [frame]);
    else this.counters.unsent += 1;
  }

  /** Asks for the address of a neighbour that packets wait for. */
  #ask(address: Ipv4, frames: Uint8Array[]): void {
    this.#waiting.set(address, { frames, requests: 1 });
    this.#arp(BROADCAST, ARP_REQUEST, address);
  }

  #transmit(frame: Uint8Array, to: Mac): void {
    for (let n = 0, mac = to; n < 6; n += 1, mac = Math.floor(mac / 256)) frame[5 - n] = mac % 256;
    if (!this.#events.send(frame)) this.counters.unsent += 1;
  }

  #arp(to: Mac, operation: number, target: Ipv4): void {
    const { mac, address } = this.#options;
    if (!this.#events.send(arpFrame(to, { operation, senderMac: mac, sender: address, target }))) {
      this.counters.unsent += 1;
    }
  }
}
