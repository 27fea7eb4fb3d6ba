import { z } from 'zod';
import type { EndContext } from '../end-context.js';
import { type BlkVerifyChoice, blkVerifyOptions, blkVerifySchema } from './blk-verify.js';
import { type GpioCheckChoice, gpioCheckOptions, gpioCheckSchema, i2cCheckSchema } from './buses.js';
import { type ConsoleDriverChoice, consoleDriverOptions, consoleDriverSchema } from './console.js';
import { type FsCheckChoice, fsCheckOptions, fsCheckSchema } from './fs-check.js';
import { type NbdDriverChoice, nbdOptions, nbdSchema } from './nbd.js';
import { type NetstackOptions, netstackOptions, netstackSchema, type TapDriverOptions, tapSchema } from './net.js';
import { type RngDriverChoice, rngOptions, rngSchema } from './rng.js';
import { type VsockDriverChoice, vsockDriverOptions, vsockDriverSchema } from './vsock.js';

export type { BlkVerifyChoice } from './blk-verify.js';
export type { GpioCheckChoice } from './buses.js';
export type { ConsoleDriverChoice, ConsoleDriverPort } from './console.js';
export type { FsCheckChoice } from './fs-check.js';
export type { NbdDriverChoice } from './nbd.js';
export type { NetstackOptions, TapDriverOptions } from './net.js';
export type { RngDriverChoice } from './rng.js';
export type { VsockDriverChoice } from './vsock.js';

/** Reads what a device says of itself, and reports it. */
const probeSchema = z.strictObject({ type: z.literal('probe') });

/** Drivers that come with Remio: what a topology may say of each, one file a driver. */
export const driverSchemas = [
  blkVerifySchema,
  nbdSchema,
  probeSchema,
  consoleDriverSchema,
  rngSchema,
  tapSchema,
  netstackSchema,
  fsCheckSchema,
  vsockDriverSchema,
  gpioCheckSchema,
  i2cCheckSchema,
] as const;

export type DriverFile = z.output<(typeof driverSchemas)[number]>;

/** A built-in driver and what it is given. */
export type DriverChoice =
  | { readonly type: 'blk-verify'; readonly options: BlkVerifyChoice }
  | { readonly type: 'probe' }
  | { readonly type: 'console'; readonly options: ConsoleDriverChoice }
  | { readonly type: 'nbd'; readonly options: NbdDriverChoice }
  | { readonly type: 'rng'; readonly options: RngDriverChoice }
  | { readonly type: 'tap'; readonly options: TapDriverOptions }
  | { readonly type: 'netstack'; readonly options: NetstackOptions }
  | { readonly type: 'fs-check'; readonly options: FsCheckChoice }
  | { readonly type: 'vsock'; readonly options: VsockDriverChoice }
  | { readonly type: 'gpio-check'; readonly options: GpioCheckChoice }
  | { readonly type: 'i2c-check' };

/** What the driver gets of what the file says. */
export function driverChoice(driver: DriverFile, context: EndContext): DriverChoice {
  switch (driver.type) {
    case 'blk-verify':
      return { type: 'blk-verify', options: blkVerifyOptions(driver) };
    case 'gpio-check':
      return { type: 'gpio-check', options: gpioCheckOptions(driver) };
    case 'i2c-check':
      return { type: 'i2c-check' };
    case 'fs-check':
      return { type: 'fs-check', options: fsCheckOptions(driver) };
    case 'probe':
      return { type: 'probe' };
    case 'console':
      return { type: 'console', options: consoleDriverOptions(driver, context) };
    case 'nbd':
      return { type: 'nbd', options: nbdOptions(driver, context) };
    case 'vsock':
      return { type: 'vsock', options: vsockDriverOptions(driver, context) };
    case 'rng':
      return { type: 'rng', options: rngOptions(driver) };
    case 'tap':
      return { type: 'tap', options: { name: driver.name } };
    case 'netstack':
      return { type: 'netstack', options: netstackOptions(driver) };
  }
}
