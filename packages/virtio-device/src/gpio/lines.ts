import {
  VIRTIO_GPIO_DIRECTION_IN,
  VIRTIO_GPIO_DIRECTION_NONE,
  VIRTIO_GPIO_DIRECTION_OUT,
  VIRTIO_GPIO_IRQ_TYPE_EDGE_BOTH,
  VIRTIO_GPIO_IRQ_TYPE_EDGE_FALLING,
  VIRTIO_GPIO_IRQ_TYPE_EDGE_RISING,
  VIRTIO_GPIO_IRQ_TYPE_LEVEL_HIGH,
  VIRTIO_GPIO_IRQ_TYPE_LEVEL_LOW,
  VIRTIO_GPIO_IRQ_TYPE_NONE,
} from '@remio/virtio-spec';

/** What a line of a GPIO device is, whoever uses it. */
export interface GpioLine {
  /** ASCII, no two the same; empty: the line has no name. */
  readonly name: string;
  /** Position of the line that drives this one while it is an output. */
  readonly wire?: number;
  /** The level while nobody drives the line. */
  readonly pull: 0 | 1;
}

/** What a driver made of a line. */
interface LineState {
  readonly line: GpioLine;
  direction: number;
  /** The value that the line has as an output. */
  output: 0 | 1;
  /** As it was sensed last. */
  level: 0 | 1;
  irqType: number;
  /** An edge came while the interrupt was enabled and masked. */
  latched: boolean;
}

const IRQ_TYPES: readonly number[] = [
  VIRTIO_GPIO_IRQ_TYPE_EDGE_RISING,
  VIRTIO_GPIO_IRQ_TYPE_EDGE_FALLING,
  VIRTIO_GPIO_IRQ_TYPE_EDGE_BOTH,
  VIRTIO_GPIO_IRQ_TYPE_LEVEL_HIGH,
  VIRTIO_GPIO_IRQ_TYPE_LEVEL_LOW,
];

/** The lines of a GPIO device (5.18): directions, levels, and which interrupts are due. */
export class GpioLines {
  readonly #states: readonly LineState[];
  /** Lines whose interrupts are unmasked, and what to call when one is due; it is masked then. */
  readonly #unmasked = new Map<number, () => void>();

  constructor(lines: readonly GpioLine[]) {
    this.#states = lines.map((line) => ({
      line,
      direction: VIRTIO_GPIO_DIRECTION_NONE,
      output: 0,
      level: line.pull,
      irqType: VIRTIO_GPIO_IRQ_TYPE_NONE,
      latched: false,
    }));
  }

  direction(index: number): number | undefined {
    return this.#states[index]?.direction;
  }

  /** The level that is sensed on a line. */
  level(index: number): 0 | 1 | undefined {
    return this.#states[index]?.level;
  }

  /** @returns false if there is no such line or direction, or its interrupt is enabled */
  setDirection(index: number, direction: number): boolean {
    const state = this.#states[index];
    if (state === undefined) return false;
    if (direction === VIRTIO_GPIO_DIRECTION_NONE) {
      // 5.18.6.8: everything that the driver said of the line is forgotten.
      state.output = 0;
      this.#disable(index, state);
    } else if (direction === VIRTIO_GPIO_DIRECTION_OUT) {
      if (state.irqType !== VIRTIO_GPIO_IRQ_TYPE_NONE) return false;
    } else if (direction !== VIRTIO_GPIO_DIRECTION_IN) return false;
    state.direction = direction;
    this.#sense();
    return true;
  }

  /** The value of a line as an output, now or once it is one. */
  setValue(index: number, value: number): boolean {
    const state = this.#states[index];
    if (state === undefined || (value !== 0 && value !== 1)) return false;
    state.output = value;
    this.#sense();
    return true;
  }

  /** Enables a line's interrupt, masked, or disables it. One that is enabled is disabled before it becomes another (5.18.6.6). */
  setIrqType(index: number, type: number): boolean {
    const state = this.#states[index];
    if (state === undefined || state.direction === VIRTIO_GPIO_DIRECTION_OUT) return false;
    if (type === VIRTIO_GPIO_IRQ_TYPE_NONE) {
      this.#disable(index, state);
      return true;
    }
    if (!IRQ_TYPES.includes(type) || state.irqType !== VIRTIO_GPIO_IRQ_TYPE_NONE) return false;
    state.irqType = type;
    return true;
  }

  /**
   * Unmasks the interrupt of a line, once.
   * @param due called when it is due, perhaps at once, with false if it is disabled meanwhile
   * @returns false if the line's interrupt is not enabled, or is unmasked already
   */
  unmask(index: number, due: (valid: boolean) => void): boolean {
    const state = this.#states[index];
    if (state === undefined || state.irqType === VIRTIO_GPIO_IRQ_TYPE_NONE || this.#unmasked.has(index)) return false;
    this.#unmasked.set(index, () => due(state.irqType !== VIRTIO_GPIO_IRQ_TYPE_NONE));
    this.#raiseIfDue(index, state);
    return true;
  }

  /** Forgets everything that the driver said. */
  reset(): void {
    this.#unmasked.clear();
    for (const state of this.#states) {
      state.direction = VIRTIO_GPIO_DIRECTION_NONE;
      state.output = 0;
      state.irqType = VIRTIO_GPIO_IRQ_TYPE_NONE;
      state.latched = false;
    }
    this.#sense();
  }

  #disable(index: number, state: LineState): void {
    state.irqType = VIRTIO_GPIO_IRQ_TYPE_NONE;
    state.latched = false;
    this.#raise(index);
  }

  /** Looks at every line's level, and raises what is due. */
  #sense(): void {
    for (const [index, state] of this.#states.entries()) {
      const level = this.#levelOf(state);
      if (level !== state.level) {
        state.level = level;
        const edge = level === 1 ? VIRTIO_GPIO_IRQ_TYPE_EDGE_RISING : VIRTIO_GPIO_IRQ_TYPE_EDGE_FALLING;
        if (state.irqType <= VIRTIO_GPIO_IRQ_TYPE_EDGE_BOTH && (state.irqType & edge) !== 0) state.latched = true;
      }
      this.#raiseIfDue(index, state);
    }
  }

  #levelOf({ line, direction, output }: LineState): 0 | 1 {
    if (direction === VIRTIO_GPIO_DIRECTION_OUT) return output;
    const driver = line.wire === undefined ? undefined : this.#states[line.wire];
    return driver?.direction === VIRTIO_GPIO_DIRECTION_OUT ? driver.output : line.pull;
  }

  #raiseIfDue(index: number, state: LineState): void {
    const active =
      (state.irqType === VIRTIO_GPIO_IRQ_TYPE_LEVEL_HIGH && state.level === 1) ||
      (state.irqType === VIRTIO_GPIO_IRQ_TYPE_LEVEL_LOW && state.level === 0);
    if ((!active && !state.latched) || !this.#unmasked.has(index)) return;
    state.latched = false;
    this.#raise(index);
  }

  #raise(index: number): void {
    const due = this.#unmasked.get(index);
    this.#unmasked.delete(index);
    due?.();
  }
}
