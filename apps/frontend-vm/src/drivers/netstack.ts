import { formatIpv4, lengthOf, NetStack, NO_OFFLOADS, Patience, peek, type StackCounters } from '@remio/ethernet';
import { type GuestCpu, type GuestDeviceEnd, type GuestVm, ProgramError } from '@remio/guest';
import type { NetstackOptions } from '@remio/topology';
import { type NetLane, VcpuTimer, VirtioNetDriver } from '@remio/virtio-driver';
import { NET_HEADER_SIZE, VIRTIO_NET_HDR_F_DATA_VALID, VIRTIO_NET_HDR_F_NEEDS_CSUM } from '@remio/virtio-spec';
import { hostTurn } from './host-turn.js';
import type { DriverProgram } from './index.js';
import { orThrow } from './or-throw.js';

/** Bytes of a receive buffer: a frame of the Ethernet MTU fits; longer ones take several. */
const RECEIVE_BYTES = 2048;
/** Nanoseconds between requests for a neighbour that does not answer. */
const RETRY_NS = 200_000_000n;
/** Port that datagrams are sent from. */
const SOURCE_PORT = 49_152;
const PING_ID = 0x7265;
const NEVER = 1n << 63n;

/** Datagrams that came, other than those sent back. */
interface Sink {
  datagrams: number;
  bytes: number;
}

/** A station with an IPv4 address of its own on a network device. */
class Station {
  readonly driver: VirtioNetDriver;
  readonly stack: NetStack;
  readonly sink: Sink = { datagrams: 0, bytes: 0 };
  /** Answers to pings with another are late, and are not told. */
  pingId = PING_ID;
  /** Told of every answer to a ping: its sequence number. */
  onEcho: (sequence: number) => void = () => {};
  /** Value of the counter when something for this station came last. */
  heard = 0n;
  readonly #vm: GuestVm;
  readonly #cpu: GuestCpu;
  readonly #lane: NetLane;
  readonly #timer: VcpuTimer;
  readonly #patience = new Patience();
  #retryAt = NEVER;

  private constructor(vm: GuestVm, cpu: GuestCpu, driver: VirtioNetDriver, lane: NetLane, options: NetstackOptions) {
    this.#vm = vm;
    this.#cpu = cpu;
    this.driver = driver;
    this.#lane = lane;
    this.#timer = VcpuTimer.of(cpu);
    const { address, prefix } = options;
    this.stack = new NetStack(
      { address, prefix, mac: driver.mac, mtu: driver.mtu },
      {
        send: (frame) => this.#send(frame),
        echoReply: (_from, id, sequence) => {
          if (id === this.pingId) this.onEcho(sequence);
        },
        datagram: (from, sourcePort, destinationPort, data) => {
          if (destinationPort === options.echoPort && sourcePort !== options.echoPort) {
            this.stack.send(options.echoPort, from, sourcePort, data);
            return;
          }
          this.sink.datagrams += 1;
          this.sink.bytes += data.length;
        },
      },
    );
  }

  static async open(vm: GuestVm, cpu: GuestCpu, end: GuestDeviceEnd, options: NetstackOptions): Promise<Station> {
    const driver = orThrow(
      await VirtioNetDriver.probe(cpu, end, {
        filter: true,
        announce: true,
        receiveBytes: RECEIVE_BYTES,
        offloads: { ...NO_OFFLOADS, csum: true },
      }),
    );
    const [lane] = driver.lanes;
    if (lane === undefined) throw new ProgramError('a network device has a queue pair');
    const station = new Station(vm, cpu, driver, lane, options);
    station.stack.announce();
    return station;
  }

  /** Whether a frame could be sent now. */
  get canSend(): boolean {
    const buffer = this.#lane.transmit.take();
    if (buffer !== undefined) this.#lane.transmit.giveBack(buffer);
    return buffer !== undefined;
  }

  /** Serves the network until `done`, or until the vCPU's counter has reached `deadline`. */
  async serve(deadline: bigint, done: () => boolean): Promise<void> {
    const { driver } = this;
    for (;;) {
      if (driver.stale) await this.#refresh();
      const moved = this.#receive();
      this.#retry();
      if (driver.publish()) await driver.kick(this.#cpu);
      if (driver.broken !== undefined) throw new ProgramError(`${driver.broken.code}: ${driver.broken.detail}`);
      if (done() || this.#cpu.counter() >= deadline) return;
      if (moved > 0) this.#patience.found(moved);
      if (moved > 0 || this.#patience.again()) {
        await hostTurn(this.#vm, this.#cpu, moved === 0);
        continue;
      }
      if (driver.setInterrupts(true)) continue;
      const until = this.#retryAt < deadline ? this.#retryAt : deadline;
      if (until === NEVER) await this.#cpu.waitForInterrupt();
      else await this.#timer.waitForInterrupt(until);
      driver.setInterrupts(false);
    }
  }

  /** Learns a neighbour's address, as long as it is waited for: few packets wait with it. */
  async resolve(address: number): Promise<void> {
    this.stack.resolve(address);
    await this.serve(NEVER, () => !this.stack.waiting);
  }

  async #refresh(): Promise<void> {
    await this.driver.refresh(this.#cpu);
    if (!this.driver.announcementWanted) return;
    this.stack.announce();
    await this.driver.announced(this.#cpu);
  }

  #receive(): number {
    const { receive } = this.#lane;
    let frames = 0;
    for (let frame = receive.receive(); frame !== undefined; frame = receive.receive()) {
      const [flags = 0] = frame.header;
      const before = this.stack.counters.received;
      const verified = (flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID)) !== 0;
      // A copy: the device may write to its buffers while the frame is looked at.
      const bytes = new Uint8Array(lengthOf(frame.frame));
      peek(frame.frame, bytes);
      this.stack.input(bytes, verified);
      receive.recycle(frame);
      if (this.stack.counters.received !== before) this.heard = this.#cpu.counter();
      frames += 1;
    }
    return frames;
  }

  #retry(): void {
    if (!this.stack.waiting) {
      this.#retryAt = NEVER;
      return;
    }
    const now = this.#cpu.counter();
    if (this.#retryAt !== NEVER && now >= this.#retryAt) this.stack.retry();
    if (this.#retryAt === NEVER || now >= this.#retryAt) this.#retryAt = now + RETRY_NS;
  }

  #send(frame: Uint8Array): boolean {
    const buffer = this.#lane.transmit.take();
    if (buffer === undefined || frame.length + NET_HEADER_SIZE > buffer.bytes.length) return false;
    buffer.bytes.fill(0, 0, NET_HEADER_SIZE);
    buffer.bytes.set(frame, NET_HEADER_SIZE);
    this.#lane.transmit.send(buffer, NET_HEADER_SIZE + frame.length);
    return true;
  }
}

/** A small guest stack on a network device: answers pings, and does what the topology asks for. */
export const netstack =
  (options: NetstackOptions): DriverProgram =>
  async (cpu, end, vm) => {
    const station = await Station.open(vm, cpu, end, options);
    vm.report({ kind: 'station', device: end.name, address: formatIpv4(options.address), mtu: station.driver.mtu });
    for (let round = 0; options.ping !== undefined && round < options.ping.rounds; round += 1) {
      vm.report({ kind: 'ping', device: end.name, ...(await ping(cpu, station, options.ping, PING_ID + round)) });
    }
    if (options.udp !== undefined)
      vm.report({ kind: 'udp', device: end.name, ...(await udp(cpu, station, options.udp)) });
    const worked = options.ping !== undefined || options.udp !== undefined;
    if (!worked) await station.serve(NEVER, () => false);
    // Others may still be at work with us.
    const linger = BigInt(options.linger);
    station.heard = cpu.counter();
    for (let until = station.heard + linger; cpu.counter() < until; until = station.heard + linger) {
      await station.serve(until, () => false);
    }
    const counters: StackCounters = station.stack.counters;
    vm.report({
      kind: 'station-ended',
      device: end.name,
      ...counters,
      ...station.sink,
      driver: station.driver.counters,
    });
  };

async function ping(
  cpu: GuestCpu,
  station: Station,
  { to, count, interval, timeout, size }: NonNullable<NetstackOptions['ping']>,
  id: number,
): Promise<object> {
  station.pingId = id & 0xffff;
  const data = Uint8Array.from({ length: Math.min(size, station.stack.dataMax) }, (_, n) => n & 0xff);
  const sent: bigint[] = [];
  const times = new Map<number, number>();
  station.onEcho = (sequence) => {
    const at = sent[sequence];
    // Only the first answer counts: a repeated one is no other ping's.
    if (at !== undefined && !times.has(sequence)) times.set(sequence, Number(cpu.counter() - at));
  };
  await station.resolve(to);
  const start = cpu.counter();
  for (let sequence = 0; sequence < count; sequence += 1) {
    await station.serve(start + BigInt(sequence) * BigInt(interval), () => false);
    sent.push(cpu.counter());
    station.stack.ping(to, station.pingId, sequence & 0xffff, data);
  }
  await station.serve(cpu.counter() + BigInt(timeout), () => times.size === count);
  const all = [...times.values()];
  return {
    to: formatIpv4(to),
    sent: count,
    received: all.length,
    lost: count - all.length,
    // What came back was checked by its sum.
    verifiedBytes: all.length * data.length,
    failed: count - all.length,
    ns:
      all.length === 0
        ? null
        : {
            min: Math.min(...all),
            mean: Math.round(all.reduce((a, b) => a + b, 0) / all.length),
            max: Math.max(...all),
          },
  };
}

async function udp(
  cpu: GuestCpu,
  station: Station,
  { to, port, count, size }: NonNullable<NetstackOptions['udp']>,
): Promise<object> {
  const data = Uint8Array.from({ length: Math.min(size, station.stack.dataMax) }, (_, n) => n & 0xff);
  const { stack } = station;
  await station.resolve(to);
  const before = stack.counters.unsent;
  const start = cpu.counter();
  for (let n = 0; n < count; n += 1) {
    if (!station.canSend) await station.serve(NEVER, () => station.canSend);
    stack.send(SOURCE_PORT, to, port, data);
  }
  await station.serve(cpu.counter(), () => true);
  const ns = Number(cpu.counter() - start);
  return {
    to: `${formatIpv4(to)}:${port}`,
    sent: count - (stack.counters.unsent - before),
    bytes: count * data.length,
    ns,
  };
}
