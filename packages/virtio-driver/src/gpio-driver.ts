import { err, ok, type Result } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import {
  DEVICE_ID_GPIO,
  featureSet,
  GPIO_CONFIG_NAMES_SIZE,
  GPIO_CONFIG_NGPIO,
  GPIO_EVENTQ,
  GPIO_IRQ_REQUEST_SIZE,
  GPIO_IRQ_RESPONSE_SIZE,
  GPIO_REQUEST,
  GPIO_REQUESTQ,
  GPIO_RESPONSE_SIZE,
  hasFeature,
  structBytes,
  VIRTIO_GPIO_F_IRQ,
  VIRTIO_GPIO_IRQ_STATUS_VALID,
  VIRTIO_GPIO_MSG_GET_DIRECTION,
  VIRTIO_GPIO_MSG_GET_LINE_NAMES,
  VIRTIO_GPIO_MSG_GET_VALUE,
  VIRTIO_GPIO_MSG_SET_DIRECTION,
  VIRTIO_GPIO_MSG_SET_IRQ_TYPE,
  VIRTIO_GPIO_MSG_SET_VALUE,
  VIRTIO_GPIO_STATUS_OK,
} from '@remio/virtio-spec';
import { DeviceBringUp } from './bring-up.js';
import { despiteLoss } from './despite-loss.js';
import { type DriverError, driverError } from './driver-error.js';
import { RequestQueue } from './request-queue.js';

/** Bytes of all names together that a driver is ready for. */
const NAMES_MAX = 0x1_0000;
/** Interrupts that can be waited for at the same time. */
const EVENTS = 16;

/** What a request says: its value, or `refused` by the device. */
export type GpioOutcome = Promise<Result<number | 'refused', DriverError>>;

/** A virtio-gpio driver (5.18), for tasks of the vCPU that probed. */
export class VirtioGpioDriver {
  readonly features: bigint;
  /** Lines that the device says it has. */
  readonly lines: number;
  readonly #namesSize: number;
  readonly #requests: RequestQueue;
  readonly #events: RequestQueue | undefined;

  private constructor(
    features: bigint,
    lines: number,
    namesSize: number,
    requests: RequestQueue,
    events: RequestQueue | undefined,
  ) {
    this.features = features;
    this.lines = lines;
    this.#namesSize = namesSize;
    this.#requests = requests;
    this.#events = events;
  }

  /** Brings a device up, on the vCPU that will take its interrupts and make its requests. */
  static probe(cpu: GuestCpu, end: GuestDeviceEnd): Promise<Result<VirtioGpioDriver, DriverError>> {
    return despiteLoss(cpu, end, () => VirtioGpioDriver.#attempt(cpu, end));
  }

  static async #attempt(cpu: GuestCpu, end: GuestDeviceEnd): Promise<Result<VirtioGpioDriver, DriverError>> {
    const found = await DeviceBringUp.negotiate(cpu, end, DEVICE_ID_GPIO, featureSet(VIRTIO_GPIO_F_IRQ));
    if (!found.ok) return found;
    const device = found.value;
    const { transport, features } = device;
    const config = await transport.readConfig(cpu, async () => ({
      lines: await transport.config16(cpu, GPIO_CONFIG_NGPIO),
      names: await transport.config32(cpu, GPIO_CONFIG_NAMES_SIZE),
    }));
    if (!config.ok) return config;
    const { lines, names } = config.value;
    if (names > NAMES_MAX) return err(driverError('config', '5.18.4', `${names} bytes of names`));
    const requests = await RequestQueue.setUp(cpu, device, GPIO_REQUESTQ, {
      depth: 2,
      requestSize: GPIO_REQUEST.size,
      replySize: Math.max(GPIO_RESPONSE_SIZE, 1 + names),
    });
    if (!requests.ok) return requests;
    const events = hasFeature(features, VIRTIO_GPIO_F_IRQ)
      ? await RequestQueue.setUp(cpu, device, GPIO_EVENTQ, {
          depth: EVENTS,
          requestSize: GPIO_IRQ_REQUEST_SIZE,
          replySize: GPIO_IRQ_RESPONSE_SIZE,
          expects: 'events',
        })
      : undefined;
    if (events !== undefined && !events.ok) return events;
    const queues = events === undefined ? [requests.value] : [requests.value, events.value];
    const live = await device.goLive(cpu, {
      used: () => {
        for (const queue of queues) queue.reap();
      },
      configChanged: () => {},
      // A reset would forget directions and interrupts, and who waits for an edge would wait for ever.
      lost: (error) => {
        for (const queue of queues) queue.fail(error);
      },
    });
    return live.ok ? ok(new VirtioGpioDriver(features, lines, names, requests.value, events?.value)) : live;
  }

  /** Names of the lines, in order; empty for those that have none. `refused`: the device has no names. */
  async names(): Promise<Result<readonly string[] | 'refused', DriverError>> {
    if (this.#namesSize === 0) return ok('refused');
    const reply = await this.#ask(VIRTIO_GPIO_MSG_GET_LINE_NAMES, 0, 0, 1 + this.#namesSize);
    if (!reply.ok) return reply;
    const [status, ...bytes] = reply.value;
    if (status !== VIRTIO_GPIO_STATUS_OK) return ok('refused');
    // 5.18.6.1: as many strings as there are lines, each with its NUL; what is missing has no name.
    const names = String.fromCharCode(...bytes.map((byte) => byte & 0x7f)).split('\0');
    return ok(Array.from({ length: this.lines }, (_, n) => names[n] ?? ''));
  }

  /** VIRTIO_GPIO_DIRECTION_… */
  direction(line: number): GpioOutcome {
    return this.#value(VIRTIO_GPIO_MSG_GET_DIRECTION, line, 0);
  }

  /** @param direction VIRTIO_GPIO_DIRECTION_…; set the value of an output first */
  setDirection(line: number, direction: number): GpioOutcome {
    return this.#value(VIRTIO_GPIO_MSG_SET_DIRECTION, line, direction);
  }

  value(line: number): GpioOutcome {
    return this.#value(VIRTIO_GPIO_MSG_GET_VALUE, line, 0);
  }

  setValue(line: number, value: 0 | 1): GpioOutcome {
    return this.#value(VIRTIO_GPIO_MSG_SET_VALUE, line, value);
  }

  /** Enables a line's interrupt, or disables it with VIRTIO_GPIO_IRQ_TYPE_NONE. */
  setIrqType(line: number, type: number): GpioOutcome {
    return this.#value(VIRTIO_GPIO_MSG_SET_IRQ_TYPE, line, type);
  }

  /** Unmasks a line's interrupt and waits for it: false if it is not enabled, or is disabled meanwhile. */
  async interrupt(line: number): Promise<Result<boolean, DriverError>> {
    const events = this.#events;
    if (events === undefined) return err(driverError('features', '5.18.3', 'IRQ was not negotiated'));
    const replies = await events.ask([
      { parts: [Uint8Array.of(line & 0xff, line >> 8)], room: GPIO_IRQ_RESPONSE_SIZE },
    ]);
    return replies === undefined ? err(events.failure) : ok(replies[0]?.[0] === VIRTIO_GPIO_IRQ_STATUS_VALID);
  }

  async #value(type: number, gpio: number, value: number): GpioOutcome {
    const reply = await this.#ask(type, gpio, value, GPIO_RESPONSE_SIZE);
    if (!reply.ok) return reply;
    const [status, answer] = reply.value;
    return ok(status === VIRTIO_GPIO_STATUS_OK && answer !== undefined ? answer : 'refused');
  }

  async #ask(type: number, gpio: number, value: number, room: number): Promise<Result<Uint8Array, DriverError>> {
    const replies = await this.#requests.ask([{ parts: [structBytes(GPIO_REQUEST, { type, gpio, value })], room }]);
    const [reply] = replies ?? [];
    return reply === undefined ? err(this.#requests.failure) : ok(reply);
  }
}
