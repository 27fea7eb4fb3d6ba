import type { LineChoice } from './line.js';
import type { Path } from './path.js';
import type { RemioDev, Topology, Vm } from './types.js';

/** A line to the host, and where the topology says so. */
export interface PlacedLine {
  readonly vm: Vm;
  readonly end: RemioDev;
  readonly line: LineChoice;
  /** From the end on. */
  readonly place: Path;
}

/** Every line to the host of a topology's consoles, and every Unix socket that others listen on. */
export function linesOf(topology: Pick<Topology, 'vms'>): readonly PlacedLine[] {
  const lines: PlacedLine[] = [];
  for (const vm of topology.vms) {
    for (const end of vm.remioDevs) {
      const { device, driver } = end;
      if (device?.kind === 'builtin' && device.choice.type === 'console') {
        device.choice.options.ports.forEach(({ line }, n) =>
          lines.push({ vm, end, line, place: ['device', 'ports', n] }),
        );
      }
      if (driver?.type === 'console') {
        driver.options.ports.forEach(({ line }, n) => {
          if (line.kind !== 'echo') lines.push({ vm, end, line, place: ['driver', 'ports', n] });
        });
      }
      for (const { path, place } of listening(end)) lines.push({ vm, end, line: { kind: 'listen', path }, place });
    }
  }
  return lines;
}

/** Unix sockets that a device or driver listens on, but for consoles. */
function listening({ device, driver }: RemioDev): readonly { readonly path: string; readonly place: Path }[] {
  const paths: { readonly path: string; readonly place: Path }[] = [];
  if (device?.kind === 'builtin' && device.choice.type === 'vsock') {
    const { uds } = device.choice.options;
    if (uds !== undefined) paths.push({ path: uds, place: ['device', 'uds'] });
  }
  if (driver?.type === 'vsock') {
    driver.options.dial.forEach(({ listen }, n) => {
      paths.push({ path: listen, place: ['driver', 'dial', n, 'listen'] });
    });
  }
  if (driver?.type === 'nbd' && driver.options.socket !== undefined) {
    paths.push({ path: driver.options.socket, place: ['driver', 'socket'] });
  }
  return paths;
}

/** Whether a line of one of the VMs is the command's standard input and output. */
export const usesStdio = (vms: readonly Vm[]): boolean => linesOf({ vms }).some(({ line }) => line.kind === 'stdio');
