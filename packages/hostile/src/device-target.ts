import type { GuestMemory } from '@remio/guest-memory';

/** Bytes of a register access. */
export type Width = 1 | 2 | 4 | 8;

/** A device as a driver reaches it: its registers, the memory that both share, its interrupts. */
export interface DeviceTarget {
  /** The shared memory as the driver sees it. */
  readonly memory: GuestMemory;
  /** Guest-physical address of the register window. */
  readonly window: bigint;
  /** @param offset bytes from the base of the window */
  read(offset: number, width: Width): Promise<bigint>;
  write(offset: number, width: Width, value: bigint): Promise<void>;
  /** Interrupts that the device raised so far. */
  interrupts(): number;
  /** Lets the device do what it has to, for a moment. */
  pause(): Promise<void>;
  /**
   * Lets the device go on until `done`, as long as is sensible to wait for a device.
   * @returns false if it never was
   */
  until(done: () => Promise<boolean>): Promise<boolean>;
  /** Does something on another vCPU at the same time, if there is one. */
  elsewhere?(work: (target: DeviceTarget) => Promise<void>): Promise<void>;
}
