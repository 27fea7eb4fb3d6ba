import { type FramePort, NO_OFFLOADS } from '@remio/ethernet';
import type { GuestCpu, GuestDeviceEnd, GuestProgram } from '@remio/guest';
import { driverCasesFor, HONEST, type Layout } from '@remio/hostile';
import { ConsoleDevice, EntropyDevice, NetDevice, type VirtioDevice, VsockDevice } from '@remio/virtio-device';
import {
  type DriverError,
  VcpuTimer,
  VirtioConsoleDriver,
  VirtioNetDriver,
  VirtioRngDriver,
  VirtioVsockDriver,
} from '@remio/virtio-driver';
import {
  DEVICE_ID_CONSOLE,
  DEVICE_ID_ENTROPY,
  DEVICE_ID_NETWORK,
  DEVICE_ID_VSOCK,
  hasFeature,
  VIRTIO_F_IN_ORDER,
} from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { caseName } from './catalogue.js';
import { lieTo, shown } from './lying-bench.js';

const orThrow = <T>(
  result: { readonly ok: true; readonly value: T } | { readonly ok: false; readonly error: DriverError },
): T => {
  if (result.ok) return result.value;
  const { code, clause, detail } = result.error;
  throw new Error(`${code} (${clause}): ${detail}`);
};

/** Nanoseconds of the vCPU’s clock after which a program that has nothing yet ends all the same: nothing may come. */
const LONG = 60_000_000_000n;
/** How often it asks at least, however long it took. */
const TURNS = 60;
/** What the programs of honest devices must have got, for whoever asks. */
const got = new Map<string, number>();

/**
 * Does something again and again, until it has enough or nothing more is to be expected. Time alone says nothing of
 * that: minutes pass on the vCPU while a busy host does something else, and the device has had no turn.
 */
async function until(cpu: GuestCpu, turn: () => Promise<boolean>): Promise<void> {
  const end = cpu.counter() + LONG;
  for (let turns = 0; turns < TURNS || cpu.counter() < end; turns += 1) {
    if (await turn()) return;
    await VcpuTimer.of(cpu).waitForInterrupt(cpu.counter() + LONG / BigInt(TURNS));
  }
}

/** A cable that gives every frame back. */
class Loop implements FramePort {
  readonly offloads = NO_OFFLOADS;
  readonly linkUp = true;
  readonly polled = false;
  readonly lanesMax = 1;
  readonly #frames: Uint8Array[] = [];
  #readable: () => void = () => {};
  open(user: { readable(lane: number): void }): void {
    this.#readable = () => user.readable(0);
  }
  configure(): void {}
  transmit(_: number, header: Uint8Array, frame: readonly Uint8Array[]): boolean {
    this.#frames.push(Uint8Array.from([...header, ...frame.flatMap((part) => [...part])]));
    setImmediate(() => this.#readable());
    return true;
  }
  receive(_: number, room: readonly Uint8Array[]): number {
    const frame = this.#frames[0];
    if (frame === undefined) return 0;
    if (frame.length > room.reduce((sum, { length }) => sum + length, 0)) return -frame.length;
    this.#frames.shift();
    let at = 0;
    for (const part of room) {
      part.set(frame.subarray(at, at + part.length));
      at += part.length;
    }
    return frame.length;
  }
  skip(): void {
    this.#frames.shift();
  }
  listen(): void {}
  shut(): void {}
  close(): Promise<void> {
    return Promise.resolve();
  }
}

const FRAMES = 6;

async function network(cpu: GuestCpu, end: GuestDeviceEnd): Promise<number> {
  const driver = orThrow(await VirtioNetDriver.probe(cpu, end, { queueSize: 16 }));
  const [lane] = driver.lanes;
  if (lane === undefined) throw new TypeError('no lane');
  let sent = 0;
  let received = 0;
  await until(cpu, async () => {
    if (driver.broken !== undefined) orThrow({ ok: false, error: driver.broken });
    const buffer = sent === received && sent < FRAMES ? lane.transmit.take() : undefined;
    if (buffer !== undefined) {
      buffer.bytes.fill(0, 0, 12 + 60);
      // To itself: the loop gives it back.
      for (let n = 0; n < 6; n += 1) buffer.bytes[12 + n] = Math.floor(driver.mac / 2 ** (8 * (5 - n))) & 0xff;
      lane.transmit.send(buffer, 12 + 60);
      sent += 1;
    }
    for (let frame = lane.receive.receive(); frame !== undefined; frame = lane.receive.receive()) {
      received += 1;
      lane.receive.recycle(frame);
    }
    if (driver.publish()) await driver.kick(cpu);
    return received >= FRAMES;
  });
  return received;
}

async function terminal(cpu: GuestCpu, end: GuestDeviceEnd): Promise<number> {
  const driver = orThrow(await VirtioConsoleDriver.probe(cpu, end, { ports: 4 }));
  const present = (): number => driver.ports.filter((port) => port.present && port.name !== undefined).length;
  await until(cpu, async () => {
    if (driver.broken !== undefined) orThrow({ ok: false, error: driver.broken });
    await driver.flush(cpu);
    return present() === 2;
  });
  return present();
}

const CALLS = 5;

async function socket(cpu: GuestCpu, end: GuestDeviceEnd): Promise<number> {
  const driver = orThrow(await VirtioVsockDriver.probe(cpu, end));
  let answered = 0;
  let asked = 0;
  await until(cpu, async () => {
    if (driver.broken !== undefined) orThrow({ ok: false, error: driver.broken });
    if (asked === answered && asked < CALLS) {
      asked += 1;
      driver.connect(2n, 1000 + asked, () => {
        answered += 1;
      });
    }
    await driver.flush(cpu);
    return answered >= CALLS;
  });
  return answered;
}

async function entropy(cpu: GuestCpu, end: GuestDeviceEnd): Promise<number> {
  const driver = orThrow(await VirtioRngDriver.probe(cpu, end, { depth: 4, requestSize: 16 }));
  let bytes = 0;
  orThrow(await driver.read(cpu, 256, (piece) => (bytes += piece.length)));
  return bytes;
}

const silent = { open: () => {}, close: () => Promise.resolve() };
/** Behind no port of the host is anybody. */
const nobody = {
  open: () => {},
  connect: (_: number, done: (stream: undefined) => void) => setImmediate(() => done(undefined)),
  close: () => Promise.resolve(),
};

/** Drivers that the catalogue is tried on beside the block driver's, and what an honest device lets them reach. */
const DRIVERS: readonly (readonly [
  name: string,
  deviceId: number,
  make: () => VirtioDevice,
  work: (cpu: GuestCpu, end: GuestDeviceEnd) => Promise<number>,
  all: number,
])[] = [
  ['network', DEVICE_ID_NETWORK, () => new NetDevice(new Loop(), { mac: 0x0200_0000_0001 }), network, FRAMES],
  [
    'console',
    DEVICE_ID_CONSOLE,
    () =>
      new ConsoleDevice([
        { source: silent, console: true, name: 'a' },
        { source: silent, console: false, name: 'b' },
      ]),
    terminal,
    2,
  ],
  ['socket', DEVICE_ID_VSOCK, () => new VsockDevice(3n, nobody), socket, CALLS],
  ['entropy', DEVICE_ID_ENTROPY, () => new EntropyDevice((bytes) => bytes.fill(1)), entropy, 256],
];

/** The block driver is tried in both: rings are the same code for all. */
const LAYOUT: Layout = 'packed';

describe.each(DRIVERS)('catalogue B, the %s driver', (name, deviceId, make, work, all) => {
  const program: GuestProgram = async (cpu, vm) => {
    const [end] = vm.devices;
    if (end === undefined) throw new Error('no device');
    got.set(name, await work(cpu, end));
  };

  it('every case ends as it should', async () => {
    got.delete(name);
    expect(shown(await lieTo(make, program, HONEST, LAYOUT))).toBe('C');
    // With a device that tells the truth, it comes to everything: what the cases do to it counts.
    expect(got.get(name)).toBe(all);
    const wrong: string[] = [];
    for (const each of driverCasesFor(deviceId, LAYOUT)) {
      if (hasFeature(each.ring, VIRTIO_F_IN_ORDER)) continue;
      const trial = await lieTo(make, program, each, LAYOUT);
      // What is theirs alone must have come about.
      const own = each.deviceIds?.includes(deviceId) === true;
      if (!trial.ok || (own && trial.seen === '-')) wrong.push(`${caseName(each)}: ${shown(trial)}`);
    }
    expect(wrong).toEqual([]);
  });
});
