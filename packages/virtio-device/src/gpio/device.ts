import { assert } from '@remio/base';
import {
  DEVICE_ID_GPIO,
  featureSet,
  GPIO_CONFIG_NAMES_SIZE,
  GPIO_CONFIG_NGPIO,
  GPIO_CONFIG_SIZE,
  GPIO_EVENTQ,
  GPIO_REQUEST,
  GPIO_REQUESTQ,
  GPIO_RESPONSE_SIZE,
  hasFeature,
  readStruct,
  VIRTIO_F_IN_ORDER,
  VIRTIO_GPIO_F_IRQ,
  VIRTIO_GPIO_MSG_GET_DIRECTION,
  VIRTIO_GPIO_MSG_GET_LINE_NAMES,
  VIRTIO_GPIO_MSG_GET_VALUE,
  VIRTIO_GPIO_MSG_SET_DIRECTION,
  VIRTIO_GPIO_MSG_SET_IRQ_TYPE,
  VIRTIO_GPIO_MSG_SET_VALUE,
  VIRTIO_GPIO_STATUS_ERR,
  VIRTIO_GPIO_STATUS_OK,
} from '@remio/virtio-spec';
import type { Chain } from '@remio/virtqueue';
import type { DeviceIo, VirtioDevice } from '../device.js';
import { QueueServer } from '../queue-server.js';
import { gather, scatter } from '../segments.js';
import { GpioEventQueue } from './event-queue.js';
import { type GpioLine, GpioLines } from './lines.js';

/** Lines that a device can have. */
export const GPIO_LINES_MAX = 0xffff;

/** A GPIO device (5.18): lines that are inputs or outputs, wired to each other, with interrupts. */
export class GpioDevice implements VirtioDevice {
  readonly deviceId = DEVICE_ID_GPIO;
  readonly features = featureSet(VIRTIO_GPIO_F_IRQ);
  /** Events come in whatever order they come: one that does not would keep back all others. */
  readonly withheldRingFeatures = featureSet(VIRTIO_F_IN_ORDER);
  readonly queueCount = 2;
  /** Requests that failed, and chains that were no request. */
  readonly counters = { errors: 0, malformed: 0 };
  readonly queueSizeMax = 256;
  readonly config = new Uint8Array(GPIO_CONFIG_SIZE);
  readonly #lines: GpioLines;
  readonly #names: Uint8Array;
  #irq = false;
  #requests: QueueServer | undefined;
  #events: GpioEventQueue | undefined;

  constructor(lines: readonly GpioLine[]) {
    assert(lines.length > 0 && lines.length <= GPIO_LINES_MAX, 'a GPIO device has 1 to 65535 lines');
    this.#lines = new GpioLines(lines);
    const named = lines.some(({ name }) => name !== '');
    this.#names = new TextEncoder().encode(named ? lines.map(({ name }) => `${name}\0`).join('') : '');
    const view = new DataView(this.config.buffer);
    view.setUint16(GPIO_CONFIG_NGPIO, lines.length, true);
    view.setUint32(GPIO_CONFIG_NAMES_SIZE, this.#names.length, true);
  }

  activate(io: DeviceIo): void {
    this.#irq = hasFeature(io.features, VIRTIO_GPIO_F_IRQ);
    const server: QueueServer | undefined = QueueServer.of(io, GPIO_REQUESTQ, (chain) =>
      server === undefined ? 'wait' : this.#begin(io, server, chain),
    );
    this.#requests = server;
    this.#events = this.#irq ? GpioEventQueue.of(io, this.#lines) : undefined;
  }

  notify(queue: number): void {
    if (queue === GPIO_REQUESTQ) this.#requests?.pass();
    else this.#events?.pass();
  }

  resetQueue(queue: number): void {
    if (queue !== GPIO_EVENTQ) return;
    this.#events?.giveBack();
  }

  reset(done: () => void): void {
    this.#events?.drop();
    this.#events = undefined;
    this.#requests = undefined;
    this.#lines.reset();
    done();
  }

  #begin({ memory }: DeviceIo, server: QueueServer, chain: Chain): 'taken' | 'wait' {
    if (chain.readableLength < GPIO_REQUEST.size || chain.writableLength < GPIO_RESPONSE_SIZE) {
      this.counters.malformed += 1;
      server.answer(chain.head, 0);
      return 'taken';
    }
    const request = gather(memory, chain.readable, GPIO_REQUEST.size);
    if (request === undefined) return 'wait';
    const { type, gpio, value } = readStruct(GPIO_REQUEST, request, 0);
    const response =
      type === VIRTIO_GPIO_MSG_GET_LINE_NAMES
        ? this.#lineNames(chain.writableLength)
        : this.#answer(this.#carryOut(type, gpio, value));
    if (response[0] !== VIRTIO_GPIO_STATUS_OK) this.counters.errors += 1;
    server.answer(chain.head, response.length, () => scatter(memory, chain.writable, response));
    return 'taken';
  }

  #answer(value: number | undefined): Uint8Array {
    return value === undefined ? ERROR : Uint8Array.of(VIRTIO_GPIO_STATUS_OK, value);
  }

  /** @returns the response's value; undefined: the request fails */
  #carryOut(type: number, gpio: number, value: number): number | undefined {
    const done = (ok: boolean): number | undefined => (ok ? 0 : undefined);
    switch (type) {
      case VIRTIO_GPIO_MSG_GET_DIRECTION:
        return this.#lines.direction(gpio);
      case VIRTIO_GPIO_MSG_SET_DIRECTION:
        return done(this.#lines.setDirection(gpio, value));
      case VIRTIO_GPIO_MSG_GET_VALUE:
        return this.#lines.level(gpio);
      case VIRTIO_GPIO_MSG_SET_VALUE:
        return done(this.#lines.setValue(gpio, value));
      case VIRTIO_GPIO_MSG_SET_IRQ_TYPE:
        return done(this.#irq && this.#lines.setIrqType(gpio, value));
      default:
        return undefined;
    }
  }

  /** 5.18.6.1: a status, then every line's name with its NUL. */
  #lineNames(room: number): Uint8Array {
    if (this.#names.length === 0 || room < 1 + this.#names.length) return ERROR;
    const response = new Uint8Array(1 + this.#names.length);
    response.set(this.#names, 1);
    return response;
  }
}

const ERROR = Uint8Array.of(VIRTIO_GPIO_STATUS_ERR, 0);
