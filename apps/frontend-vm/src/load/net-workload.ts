import type { GuestCpu } from '@remio/guest';
import type { VirtioNetDriver } from '@remio/virtio-driver';
import { NET_HEADER_SIZE } from '@remio/virtio-spec';
import type { Workload } from './client.js';
import type { LoadOptions } from './options.js';

/** Bytes of an Ethernet address, and of the header: two of them and the type. */
const MAC_BYTES = 6;
const ETHERNET_HEADER = 14;
/** A type that IEEE keeps for experiments: nobody takes these frames for something else. */
const LOCAL_EXPERIMENTAL = [0x88, 0xb5] as const;
/** Whoever is at the other end of the link. */
const PEER = [0x02, 0, 0, 0, 0, 0x02] as const;
/** Where a frame says which operation it is: an index into those in flight. */
const TAG_AT = ETHERNET_HEADER;

/** Sends frames to the other end of the link, which sends each back: an operation is one, there and back. */
export function networkWorkload(
  cpu: GuestCpu,
  driver: VirtioNetDriver,
  mac: Uint8Array,
  options: LoadOptions,
): Workload {
  const { size, depth } = options;
  /** By tag: what is in flight. */
  const open: ({ readonly came: number; readonly ended: Parameters<Workload['make']>[1] } | undefined)[] = [];
  const free = Array.from({ length: depth }, (_, tag) => tag);
  const [lane] = driver.lanes;
  driver.setInterrupts(true);
  return {
    depth,
    async make(came, ended) {
      driver.setInterrupts(false);
      for (const at of came) {
        const buffer = lane?.transmit.take();
        const tag = free.pop();
        if (buffer === undefined || tag === undefined) {
          // A queue is made for the depth; a driver whose device is broken gives nothing any more.
          ended(at, 0, false);
          continue;
        }
        const frame = buffer.bytes.subarray(NET_HEADER_SIZE, NET_HEADER_SIZE + size);
        buffer.bytes.fill(0, 0, NET_HEADER_SIZE + size);
        frame.set(PEER, 0);
        frame.set(mac, MAC_BYTES);
        frame.set(LOCAL_EXPERIMENTAL, 2 * MAC_BYTES);
        frame[TAG_AT] = tag & 0xff;
        frame[TAG_AT + 1] = tag >>> 8;
        open[tag] = { came: at, ended };
        lane?.transmit.send(buffer, NET_HEADER_SIZE + size);
      }
      if (driver.publish()) await driver.kick(cpu);
    },
    async look() {
      driver.setInterrupts(false);
      for (let frame = lane?.receive.receive(); frame !== undefined; frame = lane?.receive.receive()) {
        const [bytes = new Uint8Array(0)] = frame.frame;
        const tag = (bytes[TAG_AT] ?? 0) | ((bytes[TAG_AT + 1] ?? 0) << 8);
        const operation = open[tag];
        const { length } = frame;
        lane?.receive.recycle(frame);
        if (operation === undefined) continue;
        open[tag] = undefined;
        free.push(tag);
        operation.ended(operation.came, length, length === size);
      }
      // A driver without a buffer to send from would be interrupted for each that comes back.
      if (lane?.transmit.starved === true) lane.transmit.reap();
      if (driver.publish()) await driver.kick(cpu);
      return driver.setInterrupts(true);
    },
  };
}
