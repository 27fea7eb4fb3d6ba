import { ProgramError } from '@remio/guest';
import type { GpioCheckChoice } from '@remio/topology';
import { VirtioGpioDriver } from '@remio/virtio-driver';
import {
  VIRTIO_GPIO_DIRECTION_IN,
  VIRTIO_GPIO_DIRECTION_OUT,
  VIRTIO_GPIO_IRQ_TYPE_EDGE_BOTH,
  VIRTIO_GPIO_IRQ_TYPE_NONE,
} from '@remio/virtio-spec';
import type { DriverProgram } from './index.js';
import { orThrow } from './or-throw.js';

/** Drives one line and senses another, by its level and by its interrupt, and reports what came. */
export const gpioCheck =
  ({ output, input, edges }: GpioCheckChoice): DriverProgram =>
  async (cpu, end, vm) => {
    const driver = orThrow(await VirtioGpioDriver.probe(cpu, end));
    const names = orThrow(await driver.names());
    const lineOf = (name: string): number => {
      const line = names === 'refused' ? -1 : names.indexOf(name);
      if (line < 0) throw new ProgramError(`the device has no line ${name}`);
      return line;
    };
    const [out, sensed] = [lineOf(output), lineOf(input)];
    const done = (what: string, outcome: number | 'refused'): void => {
      if (outcome === 'refused') throw new ProgramError(`the device refuses to ${what}`);
    };
    done('drive a line', orThrow(await driver.setValue(out, 0)));
    done('make a line an output', orThrow(await driver.setDirection(out, VIRTIO_GPIO_DIRECTION_OUT)));
    done('make a line an input', orThrow(await driver.setDirection(sensed, VIRTIO_GPIO_DIRECTION_IN)));
    done('interrupt', orThrow(await driver.setIrqType(sensed, VIRTIO_GPIO_IRQ_TYPE_EDGE_BOTH)));
    let interrupts = 0;
    let wrong = 0;
    for (let n = 0; n < edges; n += 1) {
      const level = n % 2 === 0 ? 1 : 0;
      const interrupt = driver.interrupt(sensed);
      done('drive a line', orThrow(await driver.setValue(out, level)));
      if (orThrow(await interrupt)) interrupts += 1;
      if (orThrow(await driver.value(sensed)) !== level) wrong += 1;
    }
    // 5.18.6.7: a line whose interrupt nobody uses any more has none.
    const waiting = driver.interrupt(sensed);
    done('stop interrupting', orThrow(await driver.setIrqType(sensed, VIRTIO_GPIO_IRQ_TYPE_NONE)));
    const afterwards = orThrow(await waiting);
    vm.report({ kind: 'gpio-check', device: end.name, names, edges, interrupts, wrong, afterwards });
  };
