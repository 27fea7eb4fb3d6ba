import { hex } from '@remio/base';
import { MmioTransport } from '@remio/virtio-driver';
import { MMIO } from '@remio/virtio-spec';
import type { DriverProgram } from './index.js';

/** Reads what a device says of itself (4.2.2), and reports it. Nothing of the device's state changes. */
export const probe: DriverProgram = async (cpu, end, vm) => {
  const transport = new MmioTransport(end.window.base);
  vm.report({
    kind: 'probe',
    device: end.name,
    magic: hex(await transport.read(cpu, MMIO.MagicValue)),
    version: await transport.read(cpu, MMIO.Version),
    deviceId: await transport.read(cpu, MMIO.DeviceID),
    vendorId: hex(await transport.read(cpu, MMIO.VendorID)),
    status: await transport.read(cpu, MMIO.Status),
  });
};
