import { hasFeature, MMIO, VIRTIO_F_RING_PACKED } from '@remio/virtio-spec';
import { type Layout, type Outcome, type Trial, trialOf } from './catalogue.js';
import { CHAIN_CASES } from './device-cases/chain-cases.js';
import type { DeviceCase } from './device-cases/device-case.js';
import { LIFE_CASES } from './device-cases/life-cases.js';
import { REGISTER_CASES } from './device-cases/register-cases.js';
import { RING_CASES } from './device-cases/ring-cases.js';
import type { DeviceTarget } from './device-target.js';
import { FAMILY_CASES, familyOf } from './families/index.js';
import { HostileDriver, NoRoom } from './hostile-driver.js';

/** Catalogue A for any device. */
export const DEVICE_CASES: readonly DeviceCase[] = [...CHAIN_CASES, ...RING_CASES, ...REGISTER_CASES, ...LIFE_CASES];

/** Catalogue A, with what is tried on devices of one family only. */
export const ALL_DEVICE_CASES: readonly DeviceCase[] = [...DEVICE_CASES, ...FAMILY_CASES];

/** The cases that can be tried on a device, in a layout of its queues. */
export function deviceCasesFor(deviceId: number, offered: bigint, layout: Layout): readonly DeviceCase[] {
  if (layout === 'packed' && !hasFeature(offered, VIRTIO_F_RING_PACKED)) return [];
  const [, own] = familyOf(deviceId);
  return [...DEVICE_CASES, ...own].filter(({ layouts, ring }) => layouts.includes(layout) && (ring & ~offered) === 0n);
}

/** Which cases are tried. */
export interface DeviceTrials {
  /** Name of the device, for the table. */
  readonly name: string;
  readonly layouts: readonly Layout[];
  /** Whether a case is wanted; absent: all are. */
  wants?(each: DeviceCase): boolean;
}

/** Tries catalogue A on a device, case by case; each begins with a reset and ends with a device that works. */
export async function* tryDevice(target: DeviceTarget, { name, layouts, wants }: DeviceTrials): AsyncGenerator<Trial> {
  const deviceId = Number(await target.read(MMIO.DeviceID, 4));
  const [family] = familyOf(deviceId);
  const driver = new HostileDriver(target, family);
  for (const layout of layouts) {
    for (const each of deviceCasesFor(deviceId, await driver.offered(), layout)) {
      if (wants?.(each) === false) continue;
      yield trialOf(each, name, layout, await tryCase(driver, each, layout));
    }
  }
}

/** Tries a case; a device that makes that impossible has failed it. */
async function tryCase(driver: HostileDriver, each: DeviceCase, layout: Layout): Promise<Outcome> {
  try {
    const before = await prepare(driver, each, layout);
    if (before !== undefined) return { seen: 'W', detail: `before the case: ${before}` };
    const outcome = await each.run(driver);
    if (outcome.seen === 'W' || outcome.seen === 'F') return outcome;
    const after = (await driver.bringUp({ layout, ring: 0n })) ?? (await driver.health(driver.requestQueues()[0]));
    if (after !== undefined) return { seen: 'W', detail: `after a reset: ${after}` };
    // Of a request only: what registers say needs no interpretation.
    const asks = each.from === undefined && each.expected.includes('R');
    const unknown = !driver.family.judges && outcome.seen === 'C' && asks;
    return unknown ? { seen: 'R', detail: 'it came back; what that means is not known of this device' } : outcome;
  } catch (error) {
    if (error instanceof NoRoom) return { seen: '-', detail: error.message };
    return { seen: 'F', detail: error instanceof Error ? error.message : String(error) };
  }
}

/** Brings the device to where the case begins; why it cannot, if it cannot. */
async function prepare(
  driver: HostileDriver,
  { ring, from, size }: DeviceCase,
  layout: Layout,
): Promise<string | undefined> {
  if (from !== 'reset') {
    return driver.bringUp({ layout, ring, notLive: from === 'set-up', ...(size === undefined ? {} : { size }) });
  }
  return (await driver.reset()) ? undefined : 'the reset of the device never ends';
}
