import { NET_HEADER_SIZE } from '@remio/virtio-spec';
import { lengthOf, peek } from './bytes.js';
import { FLOW_HEAD_BYTES } from './flow.js';
import type { FramePort } from './frame-port.js';
import { isGroup, type Mac, macAt } from './mac.js';
import { SwitchPort } from './switch-port.js';

/** Frames after which an address that was not heard again is forgotten: ageing on a counter, not on a clock. */
const AGE_FRAMES = 1 << 20;
/** Most addresses that one port may make the switch learn: a flood of them is its own sender's problem only. */
const ADDRESSES_PER_PORT = 256;
const ETHERNET_HEADER = 14;

/** Sees every frame that a switch forwards. */
export type FrameWitness = (port: string, frame: readonly Uint8Array[]) => void;

/** Counters of a switch. */
export interface SwitchCounters {
  /** Frames that came in. */
  frames: number;
  /** Sent to every other port, for many receivers or for one that is not known. */
  flooded: number;
  /** Lost at a port: nobody there, its queue full, or not what the frame's header said. */
  lost: number;
}

interface Learnt {
  port: SwitchPort;
  /** Value of the frame counter when it was heard last. */
  heard: number;
}

/**
 * A learning Ethernet switch (IEEE 802.1D without spanning trees) between the devices of one VM. It knows nothing of
 * VLANs: tags are part of the frame. Nothing here waits: a frame is delivered, queued at its port within bounds, or lost.
 */
export class LearningSwitch {
  readonly counters: SwitchCounters = { frames: 0, flooded: 0, lost: 0 };
  readonly #ports = new Map<string, SwitchPort>();
  readonly #learnt = new Map<Mac, Learnt>();
  readonly #addresses = new Map<SwitchPort, number>();
  readonly #head = new Uint8Array(FLOW_HEAD_BYTES);
  readonly #ageFrames: number;
  #witness: FrameWitness | undefined;

  /** @param ageFrames frames until an address is forgotten */
  constructor(ageFrames = AGE_FRAMES) {
    this.#ageFrames = ageFrames;
  }

  /** Addresses that are known. */
  get addresses(): number {
    return this.#learnt.size;
  }

  /** Shows every frame to somebody, once, at the port where it came in. */
  set witness(witness: FrameWitness) {
    this.#witness = witness;
  }

  /** A port of the switch. One of the same name that there was is taken out first. */
  port(name: string): FramePort {
    const old = this.#ports.get(name);
    if (old !== undefined) this.#remove(old);
    const port: SwitchPort = new SwitchPort(name, {
      forward: (lane, header, frame) => this.#forward(port, lane, header, frame),
      remove: () => this.#remove(port),
    });
    this.#ports.set(name, port);
    return port;
  }

  #remove(port: SwitchPort): void {
    if (this.#ports.get(port.name) !== port) return;
    this.#ports.delete(port.name);
    for (const [mac, learnt] of this.#learnt) if (learnt.port === port) this.#learnt.delete(mac);
    this.#addresses.delete(port);
  }

  #forward(from: SwitchPort, lane: number, header: Uint8Array, frame: readonly Uint8Array[]): boolean {
    const { counters } = this;
    const seen = peek(frame, this.#head);
    if (seen < ETHERNET_HEADER || header.length !== NET_HEADER_SIZE) return false;
    counters.frames += 1;
    this.#witness?.(from.name, frame);
    from.sent(lane, this.#head, seen);
    this.#learn(macAt(this.#head, 6), from);
    const destination = macAt(this.#head, 0);
    const known = isGroup(destination) ? undefined : this.#lookUp(destination);
    // On the segment where it came from, whoever it is for has it already.
    if (known === from) return true;
    const length = lengthOf(frame);
    if (known !== undefined) {
      const delivered = known.deliver(header, frame, length, this.#head, seen);
      if (!delivered) counters.lost += 1;
      return delivered;
    }
    counters.flooded += 1;
    for (const port of this.#ports.values()) {
      if (port !== from && !port.deliver(header, frame, length, this.#head, seen)) counters.lost += 1;
    }
    return true;
  }

  #lookUp(mac: Mac): SwitchPort | undefined {
    const learnt = this.#learnt.get(mac);
    if (learnt === undefined) return undefined;
    if (this.counters.frames - learnt.heard <= this.#ageFrames) return learnt.port;
    this.#forget(mac, learnt);
    return undefined;
  }

  #learn(mac: Mac, port: SwitchPort): void {
    if (isGroup(mac)) return;
    const learnt = this.#learnt.get(mac);
    if (learnt !== undefined) {
      learnt.heard = this.counters.frames;
      if (learnt.port === port) return;
      // The station moved.
      this.#forget(mac, learnt);
    }
    const known = this.#addresses.get(port) ?? 0;
    if (known >= ADDRESSES_PER_PORT && !this.#forgetOld(port)) return;
    this.#learnt.set(mac, { port, heard: this.counters.frames });
    this.#addresses.set(port, (this.#addresses.get(port) ?? 0) + 1);
  }

  #forget(mac: Mac, { port }: Learnt): void {
    this.#learnt.delete(mac);
    this.#addresses.set(port, (this.#addresses.get(port) ?? 1) - 1);
  }

  /** Makes room among the addresses of a port: forgets the one that was heard longest ago, if it is old. */
  #forgetOld(port: SwitchPort): boolean {
    for (const [mac, learnt] of this.#learnt) {
      if (learnt.port === port && this.counters.frames - learnt.heard > this.#ageFrames) {
        this.#forget(mac, learnt);
        return true;
      }
    }
    return false;
  }
}
