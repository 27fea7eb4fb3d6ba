import { hex } from '@remio/base';
import type { Topology } from '@remio/topology';
import { remioConfigOf } from '../platform/config.js';
import type { CoreData, CoreEffect, CoreInput } from '../remio/index.js';

/** 64-bit numbers as the vectors write them; times and ids as they are. */
export const plain = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value, (_, inner: unknown) => (typeof inner === 'bigint' ? hex(inner) : inner))) as unknown;

/**
 * Writes what goes into the core and what comes out of it, one line of JSON per step (`remio-recording/1`): the
 * machine first, then `{input, effects}` in order, then the final state of the core's slots.
 */
export class Recorder {
  readonly #topology: Topology;
  #steps = 0;

  constructor(topology: Topology) {
    this.#topology = topology;
  }

  header(): string {
    const { name, arch, profile } = this.#topology;
    return this.#line({ format: 'remio-recording/1', name, arch, profile, machine: remioConfigOf(this.#topology) });
  }

  step(input: CoreInput, effects: readonly CoreEffect[]): string {
    this.#steps += 1;
    return this.#line({ input, effects });
  }

  footer(data: Readonly<CoreData>): string {
    return this.#line({ steps: this.#steps, open: data.requests.filter((request) => request.state !== 'free').length });
  }

  #line(value: unknown): string {
    return `${JSON.stringify(plain(value))}\n`;
  }
}
