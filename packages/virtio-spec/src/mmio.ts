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

/** MMIO Device Register Layout (4.2.2). Every control register is 32 bits wide; the device's configuration follows. */
export const MMIO_REGISTERS = [
  { name: 'MagicValue', linuxName: 'MAGIC_VALUE', offset: 0x000, access: 'r', clause: '4.2.2' },
  { name: 'Version', linuxName: 'VERSION', offset: 0x004, access: 'r', clause: '4.2.2' },
  { name: 'DeviceID', linuxName: 'DEVICE_ID', offset: 0x008, access: 'r', clause: '4.2.2' },
  { name: 'VendorID', linuxName: 'VENDOR_ID', offset: 0x00c, access: 'r', clause: '4.2.2' },
  { name: 'DeviceFeatures', linuxName: 'DEVICE_FEATURES', offset: 0x010, access: 'r', clause: '4.2.2' },
  { name: 'DeviceFeaturesSel', linuxName: 'DEVICE_FEATURES_SEL', offset: 0x014, access: 'w', clause: '4.2.2' },
  { name: 'DriverFeatures', linuxName: 'DRIVER_FEATURES', offset: 0x020, access: 'w', clause: '4.2.2' },
  { name: 'DriverFeaturesSel', linuxName: 'DRIVER_FEATURES_SEL', offset: 0x024, access: 'w', clause: '4.2.2' },
  { name: 'QueueSel', linuxName: 'QUEUE_SEL', offset: 0x030, access: 'w', clause: '4.2.2' },
  { name: 'QueueSizeMax', linuxName: 'QUEUE_NUM_MAX', offset: 0x034, access: 'r', clause: '4.2.2' },
  { name: 'QueueSize', linuxName: 'QUEUE_NUM', offset: 0x038, access: 'w', clause: '4.2.2' },
  { name: 'QueueReady', linuxName: 'QUEUE_READY', offset: 0x044, access: 'rw', clause: '4.2.2' },
  { name: 'QueueNotify', linuxName: 'QUEUE_NOTIFY', offset: 0x050, access: 'w', clause: '4.2.3.3' },
  { name: 'InterruptStatus', linuxName: 'INTERRUPT_STATUS', offset: 0x060, access: 'r', clause: '4.2.2' },
  { name: 'InterruptACK', linuxName: 'INTERRUPT_ACK', offset: 0x064, access: 'w', clause: '4.2.2' },
  { name: 'Status', linuxName: 'STATUS', offset: 0x070, access: 'rw', clause: '4.2.2' },
  { name: 'QueueDescLow', linuxName: 'QUEUE_DESC_LOW', offset: 0x080, access: 'w', clause: '4.2.2' },
  { name: 'QueueDescHigh', linuxName: 'QUEUE_DESC_HIGH', offset: 0x084, access: 'w', clause: '4.2.2' },
  { name: 'QueueDriverLow', linuxName: 'QUEUE_AVAIL_LOW', offset: 0x090, access: 'w', clause: '4.2.2' },
  { name: 'QueueDriverHigh', linuxName: 'QUEUE_AVAIL_HIGH', offset: 0x094, access: 'w', clause: '4.2.2' },
  { name: 'QueueDeviceLow', linuxName: 'QUEUE_USED_LOW', offset: 0x0a0, access: 'w', clause: '4.2.2' },
  { name: 'QueueDeviceHigh', linuxName: 'QUEUE_USED_HIGH', offset: 0x0a4, access: 'w', clause: '4.2.2' },
  { name: 'SHMSel', linuxName: 'SHM_SEL', offset: 0x0ac, access: 'w', clause: '4.2.2' },
  { name: 'SHMLenLow', linuxName: 'SHM_LEN_LOW', offset: 0x0b0, access: 'r', clause: '4.2.2' },
  { name: 'SHMLenHigh', linuxName: 'SHM_LEN_HIGH', offset: 0x0b4, access: 'r', clause: '4.2.2' },
  { name: 'SHMBaseLow', linuxName: 'SHM_BASE_LOW', offset: 0x0b8, access: 'r', clause: '4.2.2' },
  { name: 'SHMBaseHigh', linuxName: 'SHM_BASE_HIGH', offset: 0x0bc, access: 'r', clause: '4.2.2' },
  { name: 'QueueReset', linuxName: 'QUEUE_RESET', offset: 0x0c0, access: 'rw', clause: '2.6.1' },
  { name: 'ConfigGeneration', linuxName: 'CONFIG_GENERATION', offset: 0x0fc, access: 'r', clause: '4.2.2' },
] as const satisfies readonly MmioRegister[];

/** Name of a control register. */
export type MmioRegisterName = (typeof MMIO_REGISTERS)[number]['name'];

/** Offsets by name. */
export const MMIO = Object.fromEntries(MMIO_REGISTERS.map(({ name, offset }) => [name, offset])) as Readonly<
  Record<MmioRegisterName, number>
>;

/** The device-specific configuration starts here (4.2.2). */
export const MMIO_CONFIG = 0x100;

/** Length of the window that the reference gives to a device. */
export const MMIO_WINDOW_SIZE = 0x200;

const byOffset = new Map<number, MmioRegister>(MMIO_REGISTERS.map((register) => [register.offset, register]));

/** The control register at an offset, if there is one. */
export const registerAt = (offset: number): MmioRegister | undefined => byOffset.get(offset);

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
