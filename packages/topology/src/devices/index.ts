import type { z } from 'zod';
import type { EndContext, EndProblem, TopologyFiles } from '../end-context.js';
import { type BlockModelOptions, blockOptions, blockProblems, blockSchema } from './block.js';
import { type ConsoleModelOptions, consoleOptions, consoleSchema } from './console.js';
import { type EntropyModelOptions, entropyOptions, entropySchema } from './entropy.js';
import { type FsModelOptions, fsOptions, fsProblems, fsSchema } from './fs.js';
import { type GpioModelOptions, gpioOptions, gpioSchema } from './gpio.js';
import { type I2cModelOptions, i2cOptions, i2cSchema } from './i2c.js';
import { type NetModelOptions, netOptions, netProblems, netSchema } from './net.js';
import { type VsockModelOptions, vsockOptions, vsockSchema } from './vsock.js';

export type { BlockModelOptions } from './block.js';
export type { ConsoleModelOptions } from './console.js';
export type { EntropyModelOptions } from './entropy.js';
export type { FsModelOptions } from './fs.js';
export type { GpioModelLine, GpioModelOptions } from './gpio.js';
export type { I2cChip, I2cModelOptions } from './i2c.js';
export type { NetLink, NetModelOptions } from './net.js';
export type { VsockModelOptions } from './vsock.js';

/** Device models that come with Remio: what a topology may say of each, one file a device. */
export const deviceSchemas = [
  blockSchema,
  consoleSchema,
  entropySchema,
  fsSchema,
  netSchema,
  vsockSchema,
  gpioSchema,
  i2cSchema,
] as const;

export type DeviceFile = z.output<(typeof deviceSchemas)[number]>;

/** A built-in device model and what it is given. */
export type DeviceChoice =
  | { readonly type: 'block'; readonly options: BlockModelOptions }
  | { readonly type: 'console'; readonly options: ConsoleModelOptions }
  | { readonly type: 'entropy'; readonly options: EntropyModelOptions }
  | { readonly type: 'fs'; readonly options: FsModelOptions }
  | { readonly type: 'net'; readonly options: NetModelOptions }
  | { readonly type: 'vsock'; readonly options: VsockModelOptions }
  | { readonly type: 'gpio'; readonly options: GpioModelOptions }
  | { readonly type: 'i2c'; readonly options: I2cModelOptions };

/** What the model gets of what the file says. */
export function deviceChoice(device: DeviceFile, context: EndContext): DeviceChoice {
  switch (device.type) {
    case 'fs':
      return { type: 'fs', options: fsOptions(device, context) };
    case 'gpio':
      return { type: 'gpio', options: gpioOptions(device) };
    case 'i2c':
      return { type: 'i2c', options: i2cOptions(device) };
    case 'block':
      return { type: 'block', options: blockOptions(device, context) };
    case 'console':
      return { type: 'console', options: consoleOptions(device, context) };
    case 'entropy':
      return { type: 'entropy', options: entropyOptions(device) };
    case 'net':
      return { type: 'net', options: netOptions(device, context) };
    case 'vsock':
      return { type: 'vsock', options: vsockOptions(device, context) };
  }
}

/** Virtqueues of a device (5). */
export function deviceQueues(choice: DeviceChoice): number {
  switch (choice.type) {
    case 'block':
      return choice.options.queues ?? 1;
    case 'console': {
      const [first, ...more] = choice.options.ports;
      // 5.3.2: two for the port that there always is; with MULTIPORT, two for each port and two for control.
      const multiport = more.length > 0 || first?.name !== undefined || first?.console === false;
      return multiport ? 2 * choice.options.ports.length + 2 : 2;
    }
    case 'entropy':
    case 'i2c':
      return 1;
    case 'fs':
      return 1 + (choice.options.queues ?? 1);
    case 'gpio':
      return 2;
    case 'net':
      return 2 * (choice.options.queuePairs ?? 1) + 1;
    case 'vsock':
      return 3;
  }
}

/** QueueSizeMax of a device's queues; a test of the models holds it to them. */
export function queueSizeMax(choice: DeviceChoice): number {
  switch (choice.type) {
    case 'block':
    case 'net':
      return choice.options.queueSize ?? 256;
    case 'gpio':
      return 256;
    case 'console':
    case 'fs':
    case 'vsock':
      return 128;
    case 'entropy':
    case 'i2c':
      return 64;
  }
}

/** What is wrong with a device's options beyond their shape. */
export function deviceProblems(choice: DeviceChoice, files: TopologyFiles): readonly EndProblem[] {
  switch (choice.type) {
    case 'fs':
      return fsProblems(choice.options, files);
    case 'gpio':
    case 'i2c':
      return [];
    case 'block':
      return blockProblems(choice.options, files);
    case 'console':
    case 'vsock':
    case 'entropy':
      return [];
    case 'net':
      return netProblems(choice.options);
  }
}
