import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bindKey, guestAddress, irqId } from '@remio/base';
import { ALL_OFFLOADS, LearningSwitch } from '@remio/ethernet';
import type { GuestCpu, GuestDeviceEnd } from '@remio/guest';
import { allocateMemory } from '@remio/guest-memory';
import {
  BlockDevice,
  type BlockStorage,
  ConsoleDevice,
  EntropyDevice,
  type FileTree,
  FsDevice,
  GpioDevice,
  I2cDevice,
  MemoryStorage,
  MmioRegisters,
  NetDevice,
  type VirtioDevice,
  VsockDevice,
} from '@remio/virtio-device';
import {
  VirtioBlkDriver,
  VirtioConsoleDriver,
  VirtioFsDriver,
  VirtioGpioDriver,
  VirtioI2cDriver,
  VirtioNetDriver,
  VirtioRngDriver,
  VirtioVsockDriver,
} from '@remio/virtio-driver';
import * as spec from '@remio/virtio-spec';
import { describe, expect, it } from 'vitest';

const page = readFileSync(join(dirname(fileURLToPath(import.meta.url)), '..', '..', 'docs', 'devices.md'), 'utf8');

type Probe = (cpu: GuestCpu, end: GuestDeviceEnd) => Promise<unknown>;

/** A family: its devices and drivers, with options that between them bring about every bit that there can be. */
interface Family {
  /** As the table names it. */
  readonly name: string;
  /** What names of its feature bits start with in `virtio-spec`; undefined: none are defined. */
  readonly prefix: string | undefined;
  readonly devices: readonly (() => VirtioDevice)[];
  readonly drivers: readonly Probe[];
}

const disk = (readOnly: boolean): MemoryStorage => new MemoryStorage(new Uint8Array(4096), readOnly);
const withoutHoles: BlockStorage = {
  capacity: 4096,
  readOnly: false,
  read: () => {},
  write: () => {},
  flush: () => {},
  writeZeroes: () => {},
  close: () => Promise.resolve(),
};
const source = { open: () => {}, close: () => Promise.resolve() };
const port = (lan: LearningSwitch) => lan.port('a');
const tree = { readOnly: false, root: 0 } as unknown as FileTree;
const outside = { open: () => {}, connect: () => {}, close: () => Promise.resolve() };

const FAMILIES: readonly Family[] = [
  {
    name: 'block',
    prefix: 'VIRTIO_BLK_F_',
    devices: [
      () => new BlockDevice(withoutHoles),
      () => new BlockDevice(disk(true)),
      () =>
        new BlockDevice(disk(false), {
          queues: 2,
          sizeMax: 4096,
          secureErase: true,
          topology: {},
          geometry: { cylinders: 1, heads: 1, sectors: 1 },
          lifetime: { preEolInfo: 1, typA: 1, typB: 1 },
        }),
    ],
    drivers: [(cpu, end) => VirtioBlkDriver.probe(cpu, end)],
  },
  {
    name: 'network',
    prefix: 'VIRTIO_NET_F_',
    devices: [
      () => new NetDevice(port(new LearningSwitch()), { mac: 0x0200_0000_0001 }),
      () => new NetDevice(port(new LearningSwitch()), { mac: 0x0200_0000_0001, queuePairs: 2 }),
    ],
    drivers: [
      (cpu, end) => VirtioNetDriver.probe(cpu, end, { mergeable: false }),
      (cpu, end) =>
        VirtioNetDriver.probe(cpu, end, { offloads: ALL_OFFLOADS, announce: true, filter: true, queuePairs: 2 }),
    ],
  },
  {
    name: 'console',
    prefix: 'VIRTIO_CONSOLE_F_',
    devices: [
      () => new ConsoleDevice([{ source, console: true }]),
      () => new ConsoleDevice([{ source, console: false }]),
    ],
    drivers: [(cpu, end) => VirtioConsoleDriver.probe(cpu, end)],
  },
  {
    name: 'entropy',
    prefix: undefined,
    devices: [() => new EntropyDevice(() => {})],
    drivers: [(cpu, end) => VirtioRngDriver.probe(cpu, end)],
  },
  {
    name: 'file system',
    prefix: 'VIRTIO_FS_F_',
    devices: [() => new FsDevice(tree, { tag: 'share' })],
    drivers: [(cpu, end) => VirtioFsDriver.probe(cpu, end)],
  },
  {
    name: 'socket',
    prefix: 'VIRTIO_VSOCK_F_',
    devices: [() => new VsockDevice(3n, outside)],
    drivers: [(cpu, end) => VirtioVsockDriver.probe(cpu, end)],
  },
  {
    name: 'I2C adapter',
    prefix: 'VIRTIO_I2C_F_',
    devices: [() => new I2cDevice(new Map())],
    drivers: [(cpu, end) => VirtioI2cDriver.probe(cpu, end)],
  },
  {
    name: 'GPIO',
    prefix: 'VIRTIO_GPIO_F_',
    devices: [() => new GpioDevice([{ name: 'a', pull: 0 }])],
    drivers: [(cpu, end) => VirtioGpioDriver.probe(cpu, end)],
  },
];

const WINDOW = 0xa00_0000n;

const endOf = (): GuestDeviceEnd => ({
  dm: 0,
  name: 'device',
  type: 'frontend',
  bindKey: bindKey(0n),
  window: { base: guestAddress(WINDOW), size: 0x200 },
  interrupt: irqId(40),
  shmem: allocateMemory(guestAddress(0x8000_0000n), 0x1000),
  shmemId: 0,
  ring: spec.DRIVER_RING_FEATURES,
  queueVcpus: [],
  options: undefined,
});

/** What a device's registers offer. */
function offeredBy(device: VirtioDevice): bigint {
  const registers = new MmioRegisters(device, allocateMemory(guestAddress(0n), 0x1000), {
    interrupt: () => {},
    defer: () => {},
  });
  const half = (sel: bigint): bigint => {
    registers.write(spec.MMIO.DeviceFeaturesSel, 4, sel);
    return registers.read(spec.MMIO.DeviceFeatures, 4);
  };
  return half(0n) | (half(1n) << 32n);
}

/** What a driver accepts of a device that offers everything there is, and then refuses FEATURES_OK. */
async function acceptedBy(probe: Probe, deviceId: number): Promise<bigint> {
  const words = [0n, 0n];
  let sel = 0;
  let status = 0;
  const loads: Readonly<Record<number, () => number>> = {
    [spec.MMIO.MagicValue]: () => spec.MMIO_MAGIC,
    [spec.MMIO.Version]: () => spec.MMIO_VERSION,
    [spec.MMIO.DeviceID]: () => deviceId,
    [spec.MMIO.DeviceFeatures]: () => 0xffff_ffff,
    [spec.MMIO.Status]: () => status & ~spec.STATUS_FEATURES_OK,
  };
  const stores: Readonly<Record<number, (value: number) => void>> = {
    [spec.MMIO.DriverFeaturesSel]: (value) => {
      sel = value;
    },
    [spec.MMIO.DriverFeatures]: (value) => {
      words[sel] = BigInt(value);
    },
    [spec.MMIO.Status]: (value) => {
      status = value;
    },
  };
  const cpu = {
    load32: (address: bigint) => Promise.resolve(loads[Number(address - WINDOW)]?.() ?? 0),
    store32: (address: bigint, value: number) => Promise.resolve(stores[Number(address - WINDOW)]?.(value)),
  } as unknown as GuestCpu;
  await probe(cpu, endOf());
  return (words[0] ?? 0n) | ((words[1] ?? 0n) << 32n);
}

/** The cells of the table under a heading, without its own head. */
function tableAfter(heading: string): readonly (readonly string[])[] {
  const section = page.split(`\n## ${heading}`)[1]?.split('\n## ')[0] ?? '';
  return section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) =>
      line
        .split('|')
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** `yes`, `no` or `sometimes`, of a cell that says when. */
const said = (cell: string | undefined): string => (cell === 'yes' || cell === 'no' ? cell : 'sometimes');

/** The same, of a bit in some sets. */
function found(bit: number, sets: readonly bigint[]): string {
  const has = sets.filter((set) => spec.hasFeature(set, bit)).length;
  if (has === 0) return 'no';
  return has === sets.length ? 'yes' : 'sometimes';
}

const bitsOf = (set: bigint): readonly number[] =>
  Array.from({ length: 64 }, (_, bit) => bit).filter((bit) => spec.hasFeature(set, bit));
const unite = (sets: readonly bigint[]): bigint => sets.reduce((all, set) => all | set, 0n);

/** Bits of the transport and of rings, which are no device's own. */
const COMMON = spec.ALL_RING_FEATURES | spec.featureSet(spec.VIRTIO_F_VERSION_1, spec.VIRTIO_F_ACCESS_PLATFORM);

const rows = tableAfter('Feature bits of devices').map(([device, bit, name, offered, accepted]) => ({
  device,
  bit: Number(bit),
  name,
  offered: said(offered),
  accepted: said(accepted),
}));

describe('the feature bits in docs/devices.md', () => {
  it.each(FAMILIES)('are those of $name, by its registers and by what its driver writes', async (family) => {
    const offered = family.devices.map((make) => offeredBy(make()));
    const [first] = family.devices;
    const id = first?.().deviceId ?? 0;
    const accepted = await Promise.all(family.drivers.map((probe) => acceptedBy(probe, id)));
    const named = Object.entries(spec).flatMap(([constant, bit]) =>
      family.prefix !== undefined && constant.startsWith(family.prefix) && typeof bit === 'number'
        ? [{ bit, name: constant.slice(family.prefix.length) }]
        : [],
    );
    const used = bitsOf(unite([...offered, ...accepted]) & ~COMMON);
    // No bit without a name.
    expect(used.filter((bit) => !named.some((known) => known.bit === bit))).toEqual([]);
    const expected = named
      .map(({ bit, name }) => ({
        device: family.name,
        bit,
        name,
        offered: found(bit, offered),
        accepted: found(bit, accepted),
      }))
      .sort((a, b) => a.bit - b.bit);
    expect(rows.filter(({ device }) => device === family.name)).toEqual(expected);
  });

  it('name no family that there is not', () => {
    expect(new Set(rows.map(({ device }) => device))).toEqual(
      new Set(FAMILIES.filter(({ prefix }) => prefix !== undefined).map(({ name }) => name)),
    );
  });

  it('are those of rings and the transport, and who does without one is named', async () => {
    const table = tableAfter('Transport and rings').map(([bit, name, offered, accepted]) => ({
      bit: Number(/\((\d+)\)/.exec(bit ?? '')?.[1]),
      name: name?.replaceAll('`', ''),
      offered,
      accepted: accepted?.split(',')[0],
    }));
    const ring = new Map<number, string>(Object.entries(spec.RING_FEATURES).map(([name, bit]) => [bit, name]));
    const devices = FAMILIES.flatMap(({ name, devices }) => devices.map((make) => ({ name, set: offeredBy(make()) })));
    const accepted = await Promise.all(
      FAMILIES.flatMap(({ devices: [first], drivers }) =>
        drivers.map((probe) => acceptedBy(probe, first?.().deviceId ?? 0)),
      ),
    );
    const expected = bitsOf(COMMON).map((bit) => {
      const without = [...new Set(devices.filter(({ set }) => !spec.hasFeature(set, bit)).map(({ name }) => name))];
      return {
        bit,
        name: ring.get(bit) ?? '',
        offered: without.length === 0 ? 'yes' : `yes, but not by ${without.join(', ')}`,
        accepted: found(bit, accepted),
      };
    });
    expect([...table].sort((a, b) => a.bit - b.bit)).toEqual(expected);
  });
});
