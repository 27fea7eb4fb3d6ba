import { ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import {
  CONSOLE_CONFIG_COLS,
  CONSOLE_CONFIG_MAX_NR_PORTS,
  CONSOLE_CONFIG_ROWS,
  CONSOLE_CONTROL_EVENT,
  CONSOLE_CONTROL_ID,
  CONSOLE_CONTROL_RECEIVEQ,
  CONSOLE_CONTROL_SIZE,
  CONSOLE_CONTROL_TRANSMITQ,
  CONSOLE_CONTROL_VALUE,
  CONSOLE_RESIZE_SIZE,
  consoleReceiveq,
  consoleTransmitq,
  DEVICE_ID_CONSOLE,
  featureSet,
  hasFeature,
  VIRTIO_CONSOLE_CONSOLE_PORT,
  VIRTIO_CONSOLE_DEVICE_ADD,
  VIRTIO_CONSOLE_DEVICE_READY,
  VIRTIO_CONSOLE_DEVICE_REMOVE,
  VIRTIO_CONSOLE_F_MULTIPORT,
  VIRTIO_CONSOLE_F_SIZE,
  VIRTIO_CONSOLE_PORT_NAME,
  VIRTIO_CONSOLE_PORT_OPEN,
  VIRTIO_CONSOLE_PORT_READY,
  VIRTIO_CONSOLE_RESIZE,
} from '@remio/virtio-spec';
import { DeviceBringUp } from './bring-up.js';
import { type BufferRingOptions, ReceiveRing, SendRing } from './buffer-rings.js';
import { ConsolePort } from './console-port.js';
import { despiteLoss } from './despite-loss.js';
import type { DriverError } from './driver-error.js';

export interface ConsoleDriverOptions {
  /** Features of the device that may be negotiated; absent: all that the driver understands. */
  readonly features?: bigint;
  /** Most ports that are used, whatever the device has. */
  readonly ports?: number;
  /** Buffers of each queue of a port. */
  readonly buffers?: BufferRingOptions;
}

/** What this driver understands. */
const UNDERSTOOD = featureSet(VIRTIO_CONSOLE_F_SIZE, VIRTIO_CONSOLE_F_MULTIPORT);

const DATA_BUFFERS: BufferRingOptions = { buffers: 16, size: 4096 };
/** Control messages with a name of 248 bytes fit. */
const CONTROL_BUFFERS: BufferRingOptions = { buffers: 16, size: 256 };

/**
 * A virtio console driver (5.3). What happens is kept until the program looks: {@link happened} is called for each event,
 * then the program moves bytes from and to the ports, and {@link flush}es.
 */
export class VirtioConsoleDriver {
  readonly features: bigint;
  readonly multiport: boolean;
  /** By port number: those that the device may have. */
  readonly ports: readonly ConsolePort[];
  /** Called when there is something to look at: bytes, room, a port that came, changed or went. */
  happened: () => void = () => {};
  readonly #device: DeviceBringUp;
  readonly #control: { readonly receive: ReceiveRing; readonly send: SendRing } | undefined;
  #sayReady = false;
  #sizeChanged = false;
  #broken: DriverError | undefined;

  private constructor(
    device: DeviceBringUp,
    ports: readonly ConsolePort[],
    control: { readonly receive: ReceiveRing; readonly send: SendRing } | undefined,
  ) {
    this.features = device.features;
    this.multiport = control !== undefined;
    this.ports = ports;
    this.#device = device;
    this.#control = control;
    this.#sayReady = this.multiport;
    const [first] = ports;
    if (first === undefined || this.multiport) return;
    first.alone();
  }

  /** Brings a device up, on the vCPU that will take its interrupts. */
  static probe(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: ConsoleDriverOptions = {},
  ): Promise<Result<VirtioConsoleDriver, DriverError>> {
    return despiteLoss(cpu, end, () => VirtioConsoleDriver.#attempt(cpu, end, options));
  }

  static async #attempt(
    cpu: GuestCpu,
    end: GuestDeviceEnd,
    options: ConsoleDriverOptions,
  ): Promise<Result<VirtioConsoleDriver, DriverError>> {
    const wanted = options.features ?? UNDERSTOOD;
    const found = await DeviceBringUp.negotiate(cpu, end, DEVICE_ID_CONSOLE, wanted);
    if (!found.ok) return found;
    const device = found.value;
    const multiport = hasFeature(device.features, VIRTIO_CONSOLE_F_MULTIPORT);
    const count = multiport ? await device.transport.config32(cpu, CONSOLE_CONFIG_MAX_NR_PORTS) : 1;
    const ports: ConsolePort[] = [];
    // However many ports the device claims, only those that are wanted cost anything.
    for (let id = 0; id < Math.max(1, Math.min(count, options.ports ?? 8)); id += 1) {
      const buffers = options.buffers ?? DATA_BUFFERS;
      const receive = await ReceiveRing.setUp(cpu, device, consoleReceiveq(id), buffers);
      if (!receive.ok) return receive;
      const send = await SendRing.setUp(cpu, device, consoleTransmitq(id), buffers);
      if (!send.ok) return send;
      ports.push(new ConsolePort(id, receive.value, send.value));
    }
    const control = multiport ? await setUpControl(cpu, device) : ok(undefined);
    if (!control.ok) return control;
    const driver = new VirtioConsoleDriver(device, ports, control.value);
    const live = await device.goLive(cpu, {
      used: () => driver.#used(),
      configChanged: () => {
        driver.#sizeChanged = true;
        driver.happened();
      },
      lost: (error) => driver.#fail(error),
    });
    if (!live.ok) return live;
    driver.#sizeChanged = hasFeature(device.features, VIRTIO_CONSOLE_F_SIZE);
    await driver.flush(cpu);
    return ok(driver);
  }

  /** Why the device is of no use any more. */
  get broken(): DriverError | undefined {
    return this.#broken;
  }

  /**
   * Tells the device everything: what was sent, what room there is, which ports were opened and closed.
   * @returns whether something has happened meanwhile that is to be looked at before the vCPU sleeps
   */
  async flush(cpu: GuestCpu): Promise<boolean> {
    let changed = false;
    for (const port of this.ports) changed = (await port.publish(cpu)) || changed;
    if (this.#sizeChanged) {
      this.#sizeChanged = false;
      await this.#readSize(cpu);
      changed = true;
    }
    if (this.#control !== undefined) {
      const all = this.#say(this.#control.send);
      await this.#control.send.publish(cpu);
      await this.#control.receive.publish(cpu);
      if (this.#control.send.setInterrupts(!all) && !all) changed = true;
    }
    if (changed) this.#used();
    return changed;
  }

  #used(): void {
    const error = this.#reap();
    if (error !== undefined) this.#fail(error);
    this.happened();
  }

  #reap(): DriverError | undefined {
    // Control messages are looked for before the data: what one says of a port comes after all data before it.
    let error = this.#control?.receive.reap() ?? this.#control?.send.reap();
    for (const port of this.ports) error ??= port.reap();
    const receive = this.#control?.receive;
    for (let message = receive?.message; message !== undefined; message = receive?.message) {
      this.#heard(message);
      receive?.next();
    }
    return error;
  }

  /** A control message (5.3.6.2); one that is too short, or of a port that there cannot be, means nothing (V20). */
  #heard(message: Uint8Array): void {
    if (message.length < CONSOLE_CONTROL_SIZE) return;
    // Copied: what decides something is read once.
    const bytes = message.slice();
    const view = new DataView(bytes.buffer);
    const port = this.ports[view.getUint32(CONSOLE_CONTROL_ID, true)];
    const event = view.getUint16(CONSOLE_CONTROL_EVENT, true);
    if (port === undefined) return;
    if (event === VIRTIO_CONSOLE_DEVICE_ADD && !port.present) {
      port.present = true;
      port.news.add('ready');
    }
    if (!port.present) return;
    switch (event) {
      case VIRTIO_CONSOLE_DEVICE_REMOVE:
        port.remove();
        return;
      case VIRTIO_CONSOLE_CONSOLE_PORT:
        port.isConsole = true;
        // 5.3.6.2.2: answered with PORT_OPEN, value 1.
        port.open();
        return;
      case VIRTIO_CONSOLE_RESIZE:
        if (bytes.length < CONSOLE_CONTROL_SIZE + CONSOLE_RESIZE_SIZE) return;
        port.size = {
          cols: view.getUint16(CONSOLE_CONTROL_SIZE, true),
          rows: view.getUint16(CONSOLE_CONTROL_SIZE + 2, true),
        };
        return;
      case VIRTIO_CONSOLE_PORT_OPEN:
        port.hostOpened(view.getUint16(CONSOLE_CONTROL_VALUE, true) === 1);
        return;
      case VIRTIO_CONSOLE_PORT_NAME:
        port.name = new TextDecoder().decode(bytes.subarray(CONSOLE_CONTROL_SIZE));
        return;
    }
  }

  /** Says what the device is to be told; false if there was no room for all of it. */
  #say(send: SendRing): boolean {
    if (this.#sayReady) {
      if (!this.#sendControl(send, 0, VIRTIO_CONSOLE_DEVICE_READY, 1)) return false;
      this.#sayReady = false;
    }
    for (const port of this.ports) {
      if (port.news.has('ready') && !this.#sendControl(send, port.id, VIRTIO_CONSOLE_PORT_READY, 1)) return false;
      port.news.delete('ready');
      const open = port.guestOpen ? 1 : 0;
      if (port.news.has('open') && !this.#sendControl(send, port.id, VIRTIO_CONSOLE_PORT_OPEN, open)) return false;
      port.news.delete('open');
    }
    return true;
  }

  #sendControl(send: SendRing, id: number, event: number, value: number): boolean {
    return (
      send.fill((buffer) => {
        const view = new DataView(buffer.buffer, buffer.byteOffset, CONSOLE_CONTROL_SIZE);
        view.setUint32(CONSOLE_CONTROL_ID, id, true);
        view.setUint16(CONSOLE_CONTROL_EVENT, event, true);
        view.setUint16(CONSOLE_CONTROL_VALUE, value, true);
        return CONSOLE_CONTROL_SIZE;
      }) > 0
    );
  }

  async #readSize(cpu: GuestCpu): Promise<void> {
    const { transport } = this.#device;
    const size = await transport.readConfig(cpu, async () => ({
      cols: await transport.config16(cpu, CONSOLE_CONFIG_COLS),
      rows: await transport.config16(cpu, CONSOLE_CONFIG_ROWS),
    }));
    const [port] = this.ports;
    if (!size.ok) this.#fail(size.error);
    else if (port !== undefined) port.size = size.value;
  }

  #fail(error: DriverError): void {
    this.#broken ??= error;
    this.happened();
  }
}

async function setUpControl(
  cpu: GuestCpu,
  device: DeviceBringUp,
): Promise<Result<{ readonly receive: ReceiveRing; readonly send: SendRing }, DriverError>> {
  const receive = await ReceiveRing.setUp(cpu, device, CONSOLE_CONTROL_RECEIVEQ, CONTROL_BUFFERS);
  if (!receive.ok) return receive;
  const send = await SendRing.setUp(cpu, device, CONSOLE_CONTROL_TRANSMITQ, CONTROL_BUFFERS);
  return send.ok ? ok({ receive: receive.value, send: send.value }) : send;
}
