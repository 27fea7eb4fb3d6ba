import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import type { DeviceIo, VirtioDevice } from '@remio/virtio-device';
import { VirtioConsoleDriver } from '@remio/virtio-driver';
import {
  CONSOLE_CONFIG_MAX_NR_PORTS,
  CONSOLE_CONFIG_SIZE,
  CONSOLE_CONTROL_RECEIVEQ,
  CONSOLE_CONTROL_TRANSMITQ,
  consoleReceiveq,
  DEVICE_ID_CONSOLE,
  featureSet,
  VIRTIO_CONSOLE_CONSOLE_PORT,
  VIRTIO_CONSOLE_DEVICE_ADD,
  VIRTIO_CONSOLE_DEVICE_REMOVE,
  VIRTIO_CONSOLE_F_MULTIPORT,
  VIRTIO_CONSOLE_F_SIZE,
  VIRTIO_CONSOLE_PORT_NAME,
  VIRTIO_CONSOLE_PORT_OPEN,
  VIRTIO_CONSOLE_RESIZE,
} from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { pair } from '../support/pair.js';

/** What a device says in its control receive queue or in that of a port, and how long it says that it is. */
interface Said {
  readonly queue: number;
  readonly bytes: Uint8Array;
  readonly claims?: number;
}

const control = (port: number, event: number, value: number, rest: readonly number[] = []): Said => {
  const bytes = new Uint8Array(8 + rest.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, port, true);
  view.setUint16(4, event, true);
  view.setUint16(6, value, true);
  bytes.set(rest, 8);
  return { queue: CONSOLE_CONTROL_RECEIVEQ, bytes };
};

/** A console device that says what a test likes, once its driver runs. */
class Liar implements VirtioDevice {
  readonly deviceId = DEVICE_ID_CONSOLE;
  readonly features = featureSet(VIRTIO_CONSOLE_F_MULTIPORT, VIRTIO_CONSOLE_F_SIZE);
  readonly queueCount = 8;
  readonly queueSizeMax = 16;
  readonly config = new Uint8Array(CONSOLE_CONFIG_SIZE);
  /** Control messages of the driver: port, event, value. */
  readonly heard: (readonly [number, number, number])[] = [];
  #io: DeviceIo | undefined;
  readonly #script: Said[];

  constructor(script: readonly Said[], ports = 3) {
    this.#script = [...script];
    new DataView(this.config.buffer).setUint32(CONSOLE_CONFIG_MAX_NR_PORTS, ports, true);
  }

  activate(io: DeviceIo): void {
    this.#io = io;
  }

  notify(): void {
    const io = this.#io;
    const said = io?.queues[CONSOLE_CONTROL_TRANSMITQ];
    for (let popped = said?.pop(); popped?.kind === 'chain'; popped = said?.pop()) {
      const offset = popped.chain.readable[0]?.offset ?? 0;
      const memory = io?.memory;
      if (memory === undefined) return;
      this.heard.push([memory.readU32(offset), memory.readU16(offset + 4), memory.readU16(offset + 6)]);
      said?.push(popped.chain.head, 0);
    }
    if (this.heard.length === 0) return;
    while (this.#script[0] !== undefined && this.#say(this.#script[0])) this.#script.shift();
  }

  #say({ queue, bytes, claims }: Said): boolean {
    const io = this.#io;
    const popped = io?.queues[queue]?.pop();
    const [room] = popped?.kind === 'chain' ? popped.chain.writable : [];
    if (io === undefined || popped?.kind !== 'chain' || room === undefined) return false;
    io.memory.bytes(room.offset, bytes.length).set(bytes);
    io.queues[queue]?.push(popped.chain.head, claims ?? bytes.length);
    io.used(queue);
    return true;
  }

  reset(done: () => void): void {
    done();
  }
}

/** Runs the driver until it has seen the name `last` at port 0, or gave up; what it thinks of its ports then. */
const run = async (cpu: GuestCpu, end: GuestDeviceEnd): Promise<readonly object[] | string> => {
  const probed = await VirtioConsoleDriver.probe(cpu, end, { ports: 3 });
  if (!probed.ok) return probed.error.code;
  const driver = probed.value;
  let bytes = 0;
  for (;;) {
    if (driver.broken !== undefined) return `${driver.broken.code} ${driver.broken.clause}`;
    for (const port of driver.ports) {
      port.drain((piece) => {
        bytes += piece.length;
        return piece.length;
      });
    }
    if (driver.ports[0]?.name === 'last') break;
    if (!(await driver.flush(cpu))) await cpu.waitForInterrupt();
  }
  return [
    { bytes },
    ...driver.ports.map(({ present, name, isConsole, hostOpen, size }) => ({
      present,
      ...(name === undefined ? {} : { name }),
      isConsole,
      hostOpen,
      ...(size === undefined ? {} : { size }),
    })),
  ];
};

const LAST = [
  control(0, VIRTIO_CONSOLE_DEVICE_ADD, 0),
  control(0, VIRTIO_CONSOLE_PORT_NAME, 0, [...new TextEncoder().encode('last')]),
];
const none = { present: false, isConsole: false, hostOpen: false };
const first = { present: true, name: 'last', isConsole: false, hostOpen: false, size: { cols: 0, rows: 0 } };

describe('the console driver', () => {
  it.each<readonly [string, readonly Said[], readonly object[]]>([
    ['V20: a control message that is too short', [{ queue: 2, bytes: new Uint8Array(7) }], [first, none, none]],
    ['V20: a port beyond those that it has', [control(3, VIRTIO_CONSOLE_DEVICE_ADD, 0)], [first, none, none]],
    ['V20: the largest port number', [control(0xffff_ffff, VIRTIO_CONSOLE_PORT_OPEN, 1)], [first, none, none]],
    ['V20: news of a port that was not added', [control(1, VIRTIO_CONSOLE_PORT_OPEN, 1)], [first, none, none]],
    [
      'V20: a size that is cut off',
      [control(1, VIRTIO_CONSOLE_DEVICE_ADD, 0), control(1, VIRTIO_CONSOLE_RESIZE, 0, [80, 0, 25])],
      [first, { ...none, present: true }, none],
    ],
    [
      'V20: an event that there is not',
      [control(1, VIRTIO_CONSOLE_DEVICE_ADD, 0), control(1, 99, 1)],
      [first, { ...none, present: true }, none],
    ],
    [
      'V20: a port that comes and goes without end',
      Array.from({ length: 100 }, (_, n) =>
        control(
          1,
          [VIRTIO_CONSOLE_DEVICE_ADD, VIRTIO_CONSOLE_CONSOLE_PORT, VIRTIO_CONSOLE_DEVICE_REMOVE][n % 3] ?? 0,
          0,
        ),
      ),
      [first, { ...none, present: true }, none],
    ],
  ])('%s means nothing, and what comes after is understood', async (_, script, expected) => {
    const device = new Liar([...script, ...LAST]);
    expect(await pair(device, run)).toEqual([{ bytes: 0 }, ...expected]);
  });

  it('V3 (2.7.8.2): takes no more bytes than it had room for, whatever the device claims', async () => {
    const data = { queue: consoleReceiveq(1), bytes: new Uint8Array(4096), claims: 0xffff_ffff };
    expect(await pair(new Liar([control(1, VIRTIO_CONSOLE_DEVICE_ADD, 0), data, ...LAST]), run)).toMatchObject([
      { bytes: 4096 },
      first,
      { present: true },
      none,
    ]);
  });

  it('V20 (5.3.4): has as many ports as it wants, whatever max_nr_ports says', async () => {
    expect(await pair(new Liar(LAST, 0xffff_ffff), run)).toEqual([{ bytes: 0 }, first, none, none]);
    expect(await pair(new Liar(LAST, 0), run)).toEqual([{ bytes: 0 }, first]);
  });
});
