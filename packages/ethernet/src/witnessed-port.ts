import { NET_HEADER_SIZE } from '@remio/virtio-spec';
import { part } from './bytes.js';
import type { FramePort, Offloads, PortUser } from './frame-port.js';

/** Sees frames of a port: those that its user sends, and those that it gets. */
export type PortWitness = (sent: boolean, frame: readonly Uint8Array[]) => void;

/** A port that shows every frame which passes it to somebody else. */
export class WitnessedPort implements FramePort {
  readonly offloads: Offloads;
  readonly polled: boolean;
  readonly lanesMax: number;
  readonly #port: FramePort;
  readonly #witness: PortWitness;

  constructor(port: FramePort, witness: PortWitness) {
    this.#port = port;
    this.#witness = witness;
    this.offloads = port.offloads;
    this.polled = port.polled;
    this.lanesMax = port.lanesMax;
  }

  get linkUp(): boolean {
    return this.#port.linkUp;
  }

  open(user: PortUser): void {
    this.#port.open(user);
  }

  configure(accepts: Offloads, lanes: number): void {
    this.#port.configure(accepts, lanes);
  }

  transmit(lane: number, header: Uint8Array, frame: readonly Uint8Array[]): boolean {
    this.#witness(true, frame);
    return this.#port.transmit(lane, header, frame);
  }

  receive(lane: number, room: readonly Uint8Array[]): number {
    const length = this.#port.receive(lane, room);
    if (length > 0) this.#witness(false, part(room, NET_HEADER_SIZE, length));
    return length;
  }

  skip(lane: number): void {
    this.#port.skip(lane);
  }

  listen(lane: number): void {
    this.#port.listen(lane);
  }

  shut(): void {
    this.#port.shut();
  }

  close(): Promise<void> {
    return this.#port.close();
  }
}
