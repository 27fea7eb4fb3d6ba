import { dispatcher } from '@remio/backend-vm';
import type { GuestProgram } from '@remio/guest';
import {
  type DriverCase,
  HONEST,
  type HostilePlatform,
  hasLayout,
  type Layout,
  placesOf,
  type Trial,
  trialOf,
  tryDriver,
} from '@remio/hostile';
import type { VirtioDevice } from '@remio/virtio-device';
import { expect } from 'vitest';
import { topologyOf } from '../support/pair.js';

/** Minutes pass in one of the host’s seconds: nobody waits for a device that never answers. */
const LYING = { bound: 20_000, rate: 200 };
/** Where every answer comes, no time-out is to run out because the host was busy. */
const TRUE = { bound: 20_000, rate: 1 };

const TOPOLOGY = [
  'board: { name: synthetic-riscv64, cpus: 4 }',
  'shared_memories: { m: { size: 4MiB } }',
  'vms:',
  '  back:',
  '    cpus: 1',
  '    remio_devs:',
  '      - { name: it, type: backend, bind_key: 0, interrupt: 40, shmem: { memory: m, base: 0xd0000000 },',
  '          device: { module: test.js } }',
  '  front:',
  '    cpus: 2',
  '    program: { module: test.js }',
  '    remio_devs:',
  '      - { name: it, type: frontend, bind_key: 0, interrupt: 79, window: { base: 0xa003e00 },',
  '          shmem: { memory: m, base: 0xd0000000 }, ring: { in_order: true } }',
].join('\n');

/** Lets a device lie to a program, on a platform of their own. */
export async function lieTo(
  device: () => VirtioDevice,
  program: GuestProgram,
  each: DriverCase,
  layout: Layout,
): Promise<Trial> {
  const platform: HostilePlatform = {
    topology: topologyOf(TOPOLOGY),
    program: () => Promise.resolve(program),
    dispatcher,
    deviceMaker: () => () => Promise.resolve(device()),
  };
  const [place] = placesOf(platform.topology);
  if (place === undefined) throw new Error('no device');
  expect(hasLayout(place, layout, each.ring)).toBe(true);
  return trialOf(each, 'it', layout, await tryDriver(platform, place, each, layout, each === HONEST ? TRUE : LYING));
}

export const shown = ({ seen, detail }: Trial): string => `${seen}${detail === undefined ? '' : `: ${detail}`}`;
