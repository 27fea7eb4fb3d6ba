import type { RegistersWrap } from '@remio/backend-vm';
import { MMIO } from '@remio/virtio-spec';
import type { World } from '@remio/world';

/** A device model's registers in a world, where each access has its price. */
export const chargedRegisters =
  (world: World): RegistersWrap =>
  (registers) => ({
    read(offset, width) {
      world.spent('register-access');
      return registers.read(offset, width);
    },
    write(offset, width, value) {
      world.spent(offset === MMIO.QueueNotify ? 'queue-notify' : 'register-access');
      registers.write(offset, width, value);
    },
    queueConfig: (index) => registers.queueConfig(index),
    inFlight: (queue) => registers.inFlight(queue),
    get counters() {
      return registers.counters;
    },
    get status() {
      return registers.status;
    },
    get features() {
      return registers.features;
    },
    get device() {
      return registers.device;
    },
  });
