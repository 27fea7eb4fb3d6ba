import type { DeviceIo, VirtioDevice } from '@remio/virtio-device';
import { describe, expect, it } from 'vitest';
import { RegistersTarget, type Trial, tryDevice } from './index.js';

/** A device that gives back whatever it gets, unless a test makes it worse. */
class Simple implements VirtioDevice {
  readonly deviceId: number = 200;
  readonly features = 0n;
  readonly queueCount: number = 2;
  readonly queueSizeMax = 16;
  readonly config = new Uint8Array(8);
  io: DeviceIo | undefined;

  activate(io: DeviceIo): void {
    this.io = io;
  }
  notify(index: number): void {
    const queue = this.io?.queues[index];
    for (;;) {
      const popped = queue?.pop();
      if (popped?.kind === 'broken') this.broken(index);
      else if (popped?.kind === 'chain') queue?.push(popped.chain.head, 0);
      else if (popped?.kind === 'rejected') queue?.push(popped.head, 0);
      if (popped?.kind === 'broken') return;
      if (popped?.kind !== 'chain' && popped?.kind !== 'rejected') break;
    }
    this.io?.used(index);
  }
  broken(index: number): void {
    const error = this.io?.queues[index]?.error;
    if (error !== undefined) this.io?.broken(index, error);
  }
  reset(done: () => void): void {
    done();
  }
}

/** A disk that reads nothing, whatever it is told to, and says that all went well. */
class Careless extends Simple {
  override readonly deviceId = 2;
  override notify(index: number): void {
    const { memory, queues } = this.io ?? {};
    for (let popped = queues?.[index]?.pop(); popped?.kind === 'chain'; popped = queues?.[index]?.pop()) {
      const { head, writable, writableLength } = popped.chain;
      const last = writable.at(-1);
      if (last !== undefined) memory?.writeU8(last.offset + last.length - 1, 0);
      queues?.[index]?.push(head, writableLength);
    }
    this.broken(index);
    this.io?.used(index);
  }
}

/** What is wrong with a device, by the cases of one id. */
const seen = async (device: VirtioDevice, id: string): Promise<readonly string[]> => {
  const trials: Trial[] = [];
  const wants = (each: { readonly id: string }): boolean => each.id === id;
  for await (const trial of tryDevice(new RegistersTarget(device), {
    name: 'it',
    layouts: ['split', 'packed'],
    wants,
  })) {
    trials.push(trial);
  }
  expect(trials.length).toBeGreaterThan(0);
  return trials.filter(({ ok }) => !ok).map(({ seen: verdict, detail }) => `${verdict}: ${detail}`);
};

describe('trying a device', () => {
  it('finds nothing wrong with one that gives everything back', async () => {
    const trials: Trial[] = [];
    for await (const trial of tryDevice(new RegistersTarget(new Simple()), { name: 'it', layouts: ['split'] })) {
      if (!trial.ok) trials.push(trial);
    }
    expect(trials).toEqual([]);
  });

  it('finds a device that answers nothing', async () => {
    class Silent extends Simple {
      override notify(): void {}
    }
    expect((await seen(new Silent(), 'A27'))[0]).toBe('W: queue 0 does not answer');
  });

  it('finds a device that does not say that a queue is broken', async () => {
    class Mute extends Simple {
      override broken(): void {}
    }
    expect((await seen(new Mute(), 'A4'))[0]).toBe('W: queue 0 does not answer');
  });

  it('finds a device whose other queues stop with a broken one', async () => {
    class Linked extends Careless {
      #dead = false;
      override activate(io: DeviceIo): void {
        super.activate(io);
        this.#dead = false;
      }
      override notify(index: number): void {
        if (!this.#dead) super.notify(index);
      }
      override broken(index: number): void {
        this.#dead = true;
        super.broken(index);
      }
    }
    expect((await seen(new Linked(), 'A5'))[0]).toBe('F: another queue: queue 1 does not answer');
  });

  it('finds a device that spins when a queue is broken', async () => {
    class Spinning extends Simple {
      override broken(index: number): void {
        super.broken(index);
        this.io?.defer(() => this.broken(index));
      }
    }
    expect((await seen(new Spinning(), 'A5'))[0]).toBe('F: the device spins');
  });

  it('finds a device that writes after its reset', async () => {
    const late: (() => void)[] = [];
    class Late extends Simple {
      override notify(index: number): void {
        const memory = this.io?.memory;
        late.push(() => memory?.writeU8(100, (memory.readU8(100) + 1) & 0xff));
        super.notify(index);
      }
    }
    const target = new RegistersTarget(new Late(), () => {
      for (const write of late) write();
      return Promise.resolve();
    });
    const verdicts: string[] = [];
    for await (const trial of tryDevice(target, { name: 'it', layouts: ['split'], wants: ({ id }) => id === 'A35' })) {
      verdicts.push(`${trial.seen}: ${trial.detail}`);
    }
    expect(verdicts[0]).toBe('F: memory was written after a reset had ended');
  });

  it('finds a device whose reset never ends', async () => {
    class Stuck extends Simple {
      override reset(): void {}
    }
    expect((await seen(new Stuck(), 'A35'))[0]).toBe('W: the reset never ends');
  });

  it('finds a configuration that changes while it is read, and says nothing', async () => {
    const torn = new Simple();
    let reads = 0;
    Object.defineProperty(torn, 'config', {
      get: () => {
        reads += 1;
        return Uint8Array.of(reads & 0xff, 0, 0, 0, 0, 0, 0, 0);
      },
    });
    const wrong = await seen(torn, 'A39');
    expect(wrong[0]).toMatch(/^F: a torn configuration/);
  });

  it('finds a disk that does not look at what it is told', async () => {
    expect(await seen(new Careless(), 'A42')).toContain('C: undefined');
  });
});
