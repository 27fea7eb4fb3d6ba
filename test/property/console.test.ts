import { Prng } from '@remio/base';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import { ConsoleDevice } from '@remio/virtio-device';
import { VirtioConsoleDriver } from '@remio/virtio-driver';
import {
  ALL_RING_FEATURES,
  featureSet,
  VIRTIO_CONSOLE_F_MULTIPORT,
  VIRTIO_CONSOLE_F_SIZE,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_IN_ORDER,
  VIRTIO_F_RING_PACKED,
} from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';
import { MemorySource, MemoryStream } from '../../packages/virtio-device/src/testing/memory-stream.js';
import { pair } from '../support/pair.js';

const RINGS = [
  0n,
  featureSet(VIRTIO_F_EVENT_IDX),
  featureSet(VIRTIO_F_RING_PACKED),
  featureSet(VIRTIO_F_RING_PACKED, VIRTIO_F_IN_ORDER),
  ALL_RING_FEATURES,
];
const FEATURES = [0n, featureSet(VIRTIO_CONSOLE_F_SIZE)].flatMap((set) => [
  set,
  set | featureSet(VIRTIO_CONSOLE_F_MULTIPORT),
]);
const BYTES = 3000;

/** What a guest and the test around it know of each other. */
interface Meeting {
  /** Sends back what comes until the test says so; with MULTIPORT, then closes the port. */
  over: boolean;
  wake: () => void;
}

/** Sends back what comes on port 1, or on port 0 if there is no other. */
async function echo(cpu: GuestCpu, end: GuestDeviceEnd, features: bigint, meeting: Meeting): Promise<bigint> {
  const probed = await VirtioConsoleDriver.probe(cpu, end, { features, buffers: { buffers: 4, size: 64 } });
  if (!probed.ok) throw new Error(probed.error.detail);
  const driver = probed.value;
  meeting.wake = () => cpu.hostEvent();
  cpu.onInterrupt(cpu.hostIrq, () => {});
  let happened = true;
  driver.happened = () => {
    happened = true;
  };
  for (;;) {
    happened = false;
    const port = driver.ports[driver.multiport ? 1 : 0];
    if (port === undefined) throw new Error('the port is missing');
    if (port.hostOpen) port.open();
    port.drain((bytes) => {
      let at = 0;
      port.fill((room) => {
        const part = bytes.subarray(at, at + room.length);
        room.set(part);
        at += part.length;
        return part.length;
      });
      return at;
    });
    const ended = port.takeEnd();
    if (ended) port.close();
    if (!(await driver.flush(cpu)) && !happened) {
      if (meeting.over && (!driver.multiport || !port.guestOpen)) return driver.features;
      await cpu.waitForInterrupt();
    }
  }
}

describe('a console driver and device, through traps and hypercalls', () => {
  it.each(RINGS.map((ring) => [ring.toString(16), ring] as const))(
    '5.3: carry every byte both ways, in order, with every set of features (ring features %s)',
    async (_, ring) => {
      for (const features of FEATURES) {
        const multiport = (features & featureSet(VIRTIO_CONSOLE_F_MULTIPORT)) !== 0n;
        const sources = [new MemorySource(), new MemorySource()] as const;
        const device = new ConsoleDevice([
          { source: sources[0], console: true },
          { source: sources[1], console: false, name: 'echo' },
        ]);
        const stream = sources[multiport ? 1 : 0].connect(new MemoryStream(0));
        const prng = new Prng(Number(ring & 0xffff_ffffn) + 7);
        const sent = new Uint8Array(BYTES);
        prng.fill(sent);
        const meeting: Meeting = { over: false, wake: () => {} };
        // The outside sends and takes a few bytes at a time, whenever it likes.
        let at = 0;
        const turn = (): void => {
          const count = prng.below(200);
          if (at < BYTES) stream.arrive(sent.subarray(at, at + count));
          at += count;
          stream.allow(prng.below(300));
          if (stream.taken.length < BYTES) setImmediate(turn);
          else {
            stream.finish();
            meeting.over = true;
            meeting.wake();
          }
        };
        setImmediate(turn);
        const negotiated = await pair(device, (cpu, end) => echo(cpu, { ...end, ring }, features, meeting));
        expect(negotiated & featureSet(VIRTIO_CONSOLE_F_SIZE, VIRTIO_CONSOLE_F_MULTIPORT)).toBe(features);
        expect(negotiated & ALL_RING_FEATURES).toBe(ring);
        expect(Uint8Array.from(stream.taken)).toEqual(sent);
        // The end of one direction is answered with that of the other.
        expect(stream.endSaid).toBe(multiport);
      }
    },
  );
});
