import { ALL_OFFLOADS, Patience } from '@remio/ethernet';
import { ProgramError } from '@remio/guest';
import { TapPort } from '@remio/host-io';
import type { TapDriverOptions } from '@remio/topology';
import { type NetLane, VirtioNetDriver } from '@remio/virtio-driver';
import { hostTurn } from './host-turn.js';
import type { DriverProgram } from './index.js';
import { orThrow } from './or-throw.js';

/** Frames of one direction in one turn. */
const BATCH = 64;

/**
 * Joins a network device with a TAP interface of the host: what comes in at one goes out at the other. While frames flow
 * both are looked at in turn, and neither has to say that it has some. Frames lie in the shared memory from the kernel's
 * copy on; nothing is copied here.
 */
export const tap =
  (options: TapDriverOptions): DriverProgram =>
  async (cpu, end, vm) => {
    const opened = TapPort.open(options.name);
    if (!opened.ok) throw new ProgramError(opened.error);
    const port = opened.value;
    vm.onStop(() => port.close());
    const driver = orThrow(await VirtioNetDriver.probe(cpu, end, { offloads: ALL_OFFLOADS }));
    cpu.onInterrupt(cpu.hostIrq, () => {});
    port.open({ readable: () => cpu.hostEvent(), linkChanged: () => {} });
    port.configure(driver.leaves, 1);
    const [lane] = driver.lanes;
    if (lane === undefined) throw new ProgramError('a network device has a queue pair');
    vm.report({ kind: 'tap', device: end.name, name: options.name, mtu: driver.mtu });
    const patience = new Patience();
    for (;;) {
      if (driver.stale) await driver.refresh(cpu);
      const moved = pump(port, lane);
      if (driver.publish()) await driver.kick(cpu);
      if (driver.broken !== undefined) throw new ProgramError(`${driver.broken.code}: ${driver.broken.detail}`);
      if (moved > 0) patience.found(moved);
      if (moved > 0 || patience.again()) {
        await hostTurn(vm, cpu, moved === 0);
        continue;
      }
      if (driver.setInterrupts(true)) continue;
      port.listen(0);
      await cpu.waitForInterrupt();
      driver.setInterrupts(false);
    }
  };

/** Carries frames both ways, as far as there are some and room for them; gives how many. */
function pump(port: TapPort, { transmit, receive }: NetLane): number {
  let moved = 0;
  for (let n = 0; n < BATCH; n += 1) {
    const buffer = transmit.take();
    if (buffer === undefined) break;
    const length = port.receive(0, buffer.room);
    if (length <= 0) {
      transmit.giveBack(buffer);
      if (length === 0) break;
      // Longer than the device's MTU.
      port.skip(0);
      continue;
    }
    // 5.1.9.2: num_buffers, which the kernel leaves as it was.
    buffer.bytes.fill(0, 10, 12);
    transmit.send(buffer, length);
    moved += 1;
  }
  for (let n = 0; n < BATCH; n += 1) {
    const frame = receive.receive();
    if (frame === undefined) break;
    port.transmit(0, frame.header, frame.frame);
    receive.recycle(frame);
    moved += 1;
  }
  return moved;
}
