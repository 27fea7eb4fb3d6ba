/** How a register may be accessed by the driver. */
export type RegisterAccess = 'r' | 'w' | 'rw';

/** A register of the virtio-mmio transport. */
export interface MmioRegister {
  /** Name in VirtIO 1.4. */
  readonly name: string;
  /** Name in Linux (`VIRTIO_MMIO_…`). */
  readonly linuxName: string;
  /** Bytes from the base of the window. */
  readonly offset: number;
  readonly access: RegisterAccess;
  /** Section of VirtIO 1.4 that says what it does. */
  readonly clause: string;
}

/** Offsets of the control registers by their names in VirtIO 1.4 (4.2.2). A literal, so that switches over it are fast. */
export const MMIO = {
  MagicValue: 0x000,
  Version: 0x004,
  DeviceID: 0x008,
  VendorID: 0x00c,
  DeviceFeatures: 0x010,
  DeviceFeaturesSel: 0x014,
  DriverFeatures: 0x020,
  DriverFeaturesSel: 0x024,
  QueueSel: 0x030,
  QueueSizeMax: 0x034,
  QueueSize: 0x038,
  QueueReady: 0x044,
  QueueNotify: 0x050,
  InterruptStatus: 0x060,
  InterruptACK: 0x064,
  Status: 0x070,
  QueueDescLow: 0x080,
  QueueDescHigh: 0x084,
  QueueDriverLow: 0x090,
  QueueDriverHigh: 0x094,
  QueueDeviceLow: 0x0a0,
  QueueDeviceHigh: 0x0a4,
  SHMSel: 0x0ac,
  SHMLenLow: 0x0b0,
  SHMLenHigh: 0x0b4,
  SHMBaseLow: 0x0b8,
  SHMBaseHigh: 0x0bc,
  QueueReset: 0x0c0,
  ConfigGeneration: 0x0fc,
} as const;

/** MMIO Device Register Layout (4.2.2). Every control register is 32 bits wide; the device's configuration follows. */
export const MMIO_REGISTERS = [
  { name: 'MagicValue', linuxName: 'MAGIC_VALUE', offset: MMIO.MagicValue, access: 'r', clause: '4.2.2' },
  { name: 'Version', linuxName: 'VERSION', offset: MMIO.Version, access: 'r', clause: '4.2.2' },
  { name: 'DeviceID', linuxName: 'DEVICE_ID', offset: MMIO.DeviceID, access: 'r', clause: '4.2.2' },
  { name: 'VendorID', linuxName: 'VENDOR_ID', offset: MMIO.VendorID, access: 'r', clause: '4.2.2' },
  { name: 'DeviceFeatures', linuxName: 'DEVICE_FEATURES', offset: MMIO.DeviceFeatures, access: 'r', clause: '4.2.2' },
  {
    name: 'DeviceFeaturesSel',
    linuxName: 'DEVICE_FEATURES_SEL',
    offset: MMIO.DeviceFeaturesSel,
    access: 'w',
    clause: '4.2.2',
  },
  { name: 'DriverFeatures', linuxName: 'DRIVER_FEATURES', offset: MMIO.DriverFeatures, access: 'w', clause: '4.2.2' },
  {
    name: 'DriverFeaturesSel',
    linuxName: 'DRIVER_FEATURES_SEL',
    offset: MMIO.DriverFeaturesSel,
    access: 'w',
    clause: '4.2.2',
  },
  { name: 'QueueSel', linuxName: 'QUEUE_SEL', offset: MMIO.QueueSel, access: 'w', clause: '4.2.2' },
  { name: 'QueueSizeMax', linuxName: 'QUEUE_NUM_MAX', offset: MMIO.QueueSizeMax, access: 'r', clause: '4.2.2' },
  { name: 'QueueSize', linuxName: 'QUEUE_NUM', offset: MMIO.QueueSize, access: 'w', clause: '4.2.2' },
  { name: 'QueueReady', linuxName: 'QUEUE_READY', offset: MMIO.QueueReady, access: 'rw', clause: '4.2.2' },
  { name: 'QueueNotify', linuxName: 'QUEUE_NOTIFY', offset: MMIO.QueueNotify, access: 'w', clause: '4.2.3.3' },
  {
    name: 'InterruptStatus',
    linuxName: 'INTERRUPT_STATUS',
    offset: MMIO.InterruptStatus,
    access: 'r',
    clause: '4.2.2',
  },
  { name: 'InterruptACK', linuxName: 'INTERRUPT_ACK', offset: MMIO.InterruptACK, access: 'w', clause: '4.2.2' },
  { name: 'Status', linuxName: 'STATUS', offset: MMIO.Status, access: 'rw', clause: '4.2.2' },
  { name: 'QueueDescLow', linuxName: 'QUEUE_DESC_LOW', offset: MMIO.QueueDescLow, access: 'w', clause: '4.2.2' },
  { name: 'QueueDescHigh', linuxName: 'QUEUE_DESC_HIGH', offset: MMIO.QueueDescHigh, access: 'w', clause: '4.2.2' },
  { name: 'QueueDriverLow', linuxName: 'QUEUE_AVAIL_LOW', offset: MMIO.QueueDriverLow, access: 'w', clause: '4.2.2' },
  {
    name: 'QueueDriverHigh',
    linuxName: 'QUEUE_AVAIL_HIGH',
    offset: MMIO.QueueDriverHigh,
    access: 'w',
    clause: '4.2.2',
  },
  { name: 'QueueDeviceLow', linuxName: 'QUEUE_USED_LOW', offset: MMIO.QueueDeviceLow, access: 'w', clause: '4.2.2' },
  { name: 'QueueDeviceHigh', linuxName: 'QUEUE_USED_HIGH', offset: MMIO.QueueDeviceHigh, access: 'w', clause: '4.2.2' },
  { name: 'SHMSel', linuxName: 'SHM_SEL', offset: MMIO.SHMSel, access: 'w', clause: '4.2.2' },
  { name: 'SHMLenLow', linuxName: 'SHM_LEN_LOW', offset: MMIO.SHMLenLow, access: 'r', clause: '4.2.2' },
  { name: 'SHMLenHigh', linuxName: 'SHM_LEN_HIGH', offset: MMIO.SHMLenHigh, access: 'r', clause: '4.2.2' },
  { name: 'SHMBaseLow', linuxName: 'SHM_BASE_LOW', offset: MMIO.SHMBaseLow, access: 'r', clause: '4.2.2' },
  { name: 'SHMBaseHigh', linuxName: 'SHM_BASE_HIGH', offset: MMIO.SHMBaseHigh, access: 'r', clause: '4.2.2' },
  { name: 'QueueReset', linuxName: 'QUEUE_RESET', offset: MMIO.QueueReset, access: 'rw', clause: '2.6.1' },
  {
    name: 'ConfigGeneration',
    linuxName: 'CONFIG_GENERATION',
    offset: MMIO.ConfigGeneration,
    access: 'r',
    clause: '4.2.2',
  },
] as const satisfies readonly MmioRegister[];

/** Name of a control register. */
export type MmioRegisterName = keyof typeof MMIO;

/** The device-specific configuration starts here (4.2.2). */
export const MMIO_CONFIG = 0x100;

/** Length of the window that the reference gives to a device. */
export const MMIO_WINDOW_SIZE = 0x200;

/** MagicValue: "virt", little-endian. */
export const MMIO_MAGIC = 0x7472_6976;
/** Version of the register layout; 1 is the legacy interface. */
export const MMIO_VERSION = 2;

/** InterruptStatus and InterruptACK bits (4.2.2). */
export const INTERRUPT_USED_BUFFER = 1;
export const INTERRUPT_CONFIG_CHANGE = 2;

/** Device status bits (2.1). */
export const STATUS_ACKNOWLEDGE = 1;
export const STATUS_DRIVER = 2;
export const STATUS_DRIVER_OK = 4;
export const STATUS_FEATURES_OK = 8;
export const STATUS_DEVICE_NEEDS_RESET = 64;
export const STATUS_FAILED = 128;
