import { assert } from '@remio/base';
import {
  CONSOLE_CONFIG_COLS,
  CONSOLE_CONFIG_EMERG_WR,
  CONSOLE_CONFIG_MAX_NR_PORTS,
  CONSOLE_CONFIG_ROWS,
  CONSOLE_CONFIG_SIZE,
  CONSOLE_CONTROL_RECEIVEQ,
  CONSOLE_CONTROL_TRANSMITQ,
  CONSOLE_RESIZE_SIZE,
  consolePort,
  consoleTransmitq,
  DEVICE_ID_CONSOLE,
  featureSet,
  hasFeature,
  VIRTIO_CONSOLE_CONSOLE_PORT,
  VIRTIO_CONSOLE_DEVICE_ADD,
  VIRTIO_CONSOLE_DEVICE_READY,
  VIRTIO_CONSOLE_DEVICE_REMOVE,
  VIRTIO_CONSOLE_F_EMERG_WRITE,
  VIRTIO_CONSOLE_F_MULTIPORT,
  VIRTIO_CONSOLE_F_SIZE,
  VIRTIO_CONSOLE_PORT_NAME,
  VIRTIO_CONSOLE_PORT_OPEN,
  VIRTIO_CONSOLE_PORT_READY,
  VIRTIO_CONSOLE_RESIZE,
} from '@remio/virtio-spec';
import type { DeviceIo, VirtioDevice } from '../device.js';
import { type ControlMessage, ControlQueues, controlMessage } from './control-queues.js';
import { ConsolePort, type ConsolePortOptions, NEWS_IN_ORDER, PORT_NAME_MAX, type PortNews } from './port.js';

export { type ConsolePortOptions, PORT_NAME_MAX } from './port.js';

/** Ports of one device. */
export const CONSOLE_PORTS_MAX = 32;

/**
 * A console device (5.3): ports that lead outside. Several ports, names, or a port 0 that is no console need MULTIPORT;
 * a driver that does not negotiate it has port 0 only.
 */
export class ConsoleDevice implements VirtioDevice {
  readonly deviceId = DEVICE_ID_CONSOLE;
  readonly features: bigint;
  readonly queueCount: number;
  readonly queueSizeMax = 128;
  readonly config = new Uint8Array(CONSOLE_CONFIG_SIZE);
  /** The size. */
  readonly configVaries = true;
  readonly #ports: readonly ConsolePort[];
  #io: DeviceIo | undefined;
  #control: ControlQueues | undefined;
  /** Ports that have news for the driver. */
  readonly #news = new Set<ConsolePort>();

  /** @param ports 1 to {@link CONSOLE_PORTS_MAX}, by port number */
  constructor(ports: readonly ConsolePortOptions[]) {
    const [first] = ports;
    assert(first !== undefined && ports.length <= CONSOLE_PORTS_MAX, 'a console has some ports, and not too many');
    const multiport = ports.length > 1 || first.name !== undefined || !first.console;
    this.features =
      featureSet(VIRTIO_CONSOLE_F_EMERG_WRITE) |
      (first.console ? featureSet(VIRTIO_CONSOLE_F_SIZE) : 0n) |
      (multiport ? featureSet(VIRTIO_CONSOLE_F_MULTIPORT) : 0n);
    const last = multiport
      ? Math.max(CONSOLE_CONTROL_TRANSMITQ, consoleTransmitq(ports.length - 1))
      : consoleTransmitq(0);
    this.queueCount = last + 1;
    const view = new DataView(this.config.buffer);
    if (multiport) view.setUint32(CONSOLE_CONFIG_MAX_NR_PORTS, ports.length, true);
    this.#ports = ports.map(
      (options, id) =>
        new ConsolePort(id, options, {
          news: (port) => {
            this.#news.add(port);
            this.#tell();
          },
          resized: (port) => this.#resized(port),
        }),
    );
    this.#showSize();
    for (const port of this.#ports) port.start();
  }

  /** 5.3.5.1: the emergency register may be written at any time; nothing else may. */
  writeConfig(offset: number, bytes: Uint8Array): void {
    const [character] = bytes;
    if (offset === CONSOLE_CONFIG_EMERG_WR && character !== undefined) this.#ports[0]?.emergency(character);
  }

  activate(io: DeviceIo): void {
    this.#io = io;
    const multiport = hasFeature(io.features, VIRTIO_CONSOLE_F_MULTIPORT);
    const usable = multiport ? this.#ports : this.#ports.slice(0, 1);
    for (const port of usable) port.activate(io, multiport);
    if (multiport) {
      this.#control = new ControlQueues(
        io,
        (message) => this.#received(message),
        () => this.#tell(),
      );
    }
    this.#pass();
  }

  resume(): void {
    for (const port of this.#ports) port.resume();
    this.#control?.resume();
  }

  notify(queue: number): void {
    if (isControl(queue)) this.#control?.pass();
    else this.#ports[consolePort(queue)]?.pass();
  }

  resetQueue(queue: number): void {
    if (isControl(queue)) this.#control?.resetQueue(queue);
    else this.#ports[consolePort(queue)]?.resetQueue(queue);
  }

  reset(done: () => void): void {
    this.#io = undefined;
    for (const port of this.#ports) port.deactivate();
    this.#control?.drop();
    this.#control = undefined;
    this.#news.clear();
    done();
  }

  async close(): Promise<void> {
    await Promise.all(this.#ports.map((port) => port.close()));
  }

  #pass(): void {
    this.#control?.pass();
    for (const port of this.#ports) port.pass();
  }

  /** What the driver says of a port that there is not, or in a way that there is not, means nothing (A44). */
  #received({ port: id, event, value }: ControlMessage): void {
    if (event === VIRTIO_CONSOLE_DEVICE_READY) {
      if (value === 1) for (const port of this.#ports) port.add();
      return;
    }
    const port = this.#ports[id];
    if (event === VIRTIO_CONSOLE_PORT_READY) port?.portReady(value === 1);
    else if (event === VIRTIO_CONSOLE_PORT_OPEN) port?.guestOpened(value === 1);
  }

  /** Sends news as far as the driver gave room for it; the rest stays with the ports. */
  #tell(): void {
    const control = this.#control;
    if (control === undefined) return;
    for (const port of this.#news) {
      for (const news of NEWS_IN_ORDER) {
        if (!port.news.has(news)) continue;
        if (!control.room) return;
        control.send(messageOf(port, news));
        port.told(news);
      }
      this.#news.delete(port);
    }
  }

  #resized(port: ConsolePort): void {
    if (port.id !== 0) return;
    this.#showSize();
    const io = this.#io;
    if (io !== undefined && hasFeature(io.features, VIRTIO_CONSOLE_F_SIZE)) io.configChanged();
  }

  #showSize(): void {
    const [port] = this.#ports;
    if (port?.isConsole !== true) return;
    const view = new DataView(this.config.buffer);
    view.setUint16(CONSOLE_CONFIG_COLS, port.cols, true);
    view.setUint16(CONSOLE_CONFIG_ROWS, port.rows, true);
  }
}

const isControl = (queue: number): boolean => queue === CONSOLE_CONTROL_RECEIVEQ || queue === CONSOLE_CONTROL_TRANSMITQ;

function messageOf(port: ConsolePort, news: PortNews): Uint8Array {
  switch (news) {
    case 'add':
      return controlMessage(port.id, VIRTIO_CONSOLE_DEVICE_ADD, 0);
    case 'remove':
      return controlMessage(port.id, VIRTIO_CONSOLE_DEVICE_REMOVE, 0);
    case 'console':
      return controlMessage(port.id, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
    case 'name':
      return controlMessage(
        port.id,
        VIRTIO_CONSOLE_PORT_NAME,
        1,
        new TextEncoder().encode(port.name).subarray(0, PORT_NAME_MAX),
      );
    case 'open':
      return controlMessage(port.id, VIRTIO_CONSOLE_PORT_OPEN, port.open ? 1 : 0);
    case 'resize': {
      const size = new Uint8Array(CONSOLE_RESIZE_SIZE);
      const view = new DataView(size.buffer);
      view.setUint16(0, port.cols, true);
      view.setUint16(2, port.rows, true);
      return controlMessage(port.id, VIRTIO_CONSOLE_RESIZE, 0, size);
    }
  }
}
