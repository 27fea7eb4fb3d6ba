import { assert, exponential, Prng } from '@remio/base';
import type { BlockStorage, Done } from '@remio/virtio-device';
import type { World } from './world.js';

/** How long a storage medium takes. */
export interface MediumOptions {
  /** Nanoseconds from a command to its first byte, on average. */
  readonly latency: number;
  /** Bytes a second, of each channel. */
  readonly bandwidth: number;
  /** Commands that it works on at the same time; others wait, in order. */
  readonly channels: number;
  /** Share of the latency that varies, exponentially distributed: 0 to 1. */
  readonly variation: number;
}

/** Flash storage of an embedded board, roughly; our estimate. */
export const MEDIUM: MediumOptions = { latency: 80_000, bandwidth: 200_000_000, channels: 4, variation: 0.5 };

/** A storage medium in virtual time: channels that serve commands one after the other. */
export class Medium {
  readonly #world: World;
  readonly #options: MediumOptions;
  readonly #random: Prng;
  /** When each channel is free. */
  readonly #free: number[];

  constructor(world: World, options: MediumOptions, seed: number) {
    assert(options.channels >= 1 && options.bandwidth > 0, 'a medium can do something');
    this.#world = world;
    this.#options = options;
    this.#random = new Prng(seed);
    this.#free = Array.from({ length: options.channels }, () => 0);
  }

  /** Does a command of the CPU that runs now, and interrupts that CPU when it is done. */
  submit(bytes: number, done: () => void): void {
    const { latency, bandwidth, variation } = this.#options;
    let channel = 0;
    this.#free.forEach((time, n) => {
      if (time < (this.#free[channel] ?? 0)) channel = n;
    });
    const varied = variation === 0 ? 1 : 1 - variation + variation * exponential(this.#random);
    const service = Math.round(latency * varied + (bytes * 1e9) / bandwidth);
    const end = Math.max(this.#world.now, this.#free[channel] ?? 0) + service;
    this.#free[channel] = end;
    this.#world.interruptAt(end, done);
  }
}

const PAGE = 4096;

/** Sectors of a disk of which most were never written: those read as zeros and take no memory. */
export class SparseBytes {
  readonly length: number;
  readonly #pages = new Map<number, Uint8Array>();

  constructor(length: number) {
    this.length = length;
  }

  read(position: number, into: Uint8Array): void {
    this.#each(position, into.length, (page, at, from, length) => {
      const bytes = this.#pages.get(page);
      if (bytes === undefined) into.fill(0, at, at + length);
      else into.set(bytes.subarray(from, from + length), at);
    });
  }

  write(position: number, bytes: Uint8Array): void {
    this.#each(position, bytes.length, (page, at, to, length) => {
      let room = this.#pages.get(page);
      if (room === undefined) {
        room = new Uint8Array(PAGE);
        this.#pages.set(page, room);
      }
      room.set(bytes.subarray(at, at + length), to);
    });
  }

  #each(
    position: number,
    length: number,
    act: (page: number, at: number, inPage: number, length: number) => void,
  ): void {
    for (let at = 0; at < length; ) {
      const inPage = (position + at) % PAGE;
      const part = Math.min(PAGE - inPage, length - at);
      act((position + at - inPage) / PAGE, at, inPage, part);
      at += part;
    }
  }
}

/** What a {@link ModelStorage} keeps its bytes in. */
export type Bytes = Pick<SparseBytes, 'length' | 'read' | 'write'>;

/** A disk in virtual time: bytes in memory, and a medium that takes its time. */
export class ModelStorage implements BlockStorage {
  readonly capacity: number;
  readonly readOnly: boolean;
  readonly #world: World;
  readonly #bytes: Bytes;
  readonly #medium: Medium;
  readonly #copies: boolean;

  /** @param copies whether the backend's CPU copies the data, as from a page cache; otherwise the medium writes to memory */
  constructor(world: World, bytes: Bytes, medium: Medium, copies = true, readOnly = false) {
    this.#world = world;
    this.#bytes = bytes;
    this.#medium = medium;
    this.#copies = copies;
    this.capacity = bytes.length;
    this.readOnly = readOnly;
  }

  read(position: number, buffers: readonly Uint8Array[], done: Done): void {
    this.#command(sizeOf(buffers), true, () => {
      let at = position;
      for (const buffer of buffers) {
        this.#bytes.read(at, buffer);
        at += buffer.length;
      }
      done(true);
    });
  }

  write(position: number, buffers: readonly Uint8Array[], done: Done): void {
    // Taken now: the buffers are the driver's, and what it writes later belongs to later.
    let at = position;
    for (const buffer of buffers) {
      this.#bytes.write(at, buffer);
      at += buffer.length;
    }
    this.#command(sizeOf(buffers), true, () => done(true));
  }

  flush(done: Done): void {
    this.#command(0, false, () => done(true));
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #command(bytes: number, data: boolean, done: () => void): void {
    this.#world.spent('device-request');
    if (data && this.#copies) this.#world.spent('copied-byte', bytes);
    this.#medium.submit(bytes, done);
  }
}

const sizeOf = (buffers: readonly Uint8Array[]): number => buffers.reduce((sum, { length }) => sum + length, 0);
