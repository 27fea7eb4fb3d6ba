import type { TopologySource } from '../reader.js';
import type { Topology, Vm } from '../types.js';
import { endPath } from './places.js';

/** Bytes that the registers of a virtio-mmio device take at least, as the reference's windows have them. */
const WINDOW_MIN = 0x200;

/** Built-in programs that drive what a topology names a driver for. */
const DRIVING: ReadonlySet<string> = new Set(['drivers', 'dispatcher']);

/** Checks what each end of a VM needs by itself. */
export function checkEnds(source: TopologySource, _topology: Topology, vm: Vm): void {
  const drivers = vm.program.kind === 'builtin' && DRIVING.has(vm.program.name);
  for (const end of vm.remioDevs) {
    const at = (...rest: readonly string[]) => endPath(vm, end, ...rest);
    if (end.type === 'backend') {
      if (end.device === undefined) {
        const message = `the backend of ${end.name} has no device model`;
        source.error('device-model', at(), message, 'add device: { type: block, image: … }');
      }
      continue;
    }
    const { size } = end.window;
    if (end.window.base === 0n && size === 0) {
      source.error('window', at(), `the frontend of ${end.name} has no window`, 'add window: { base: 0x… }');
    } else if (size < WINDOW_MIN) {
      const message = `a window of ${size} bytes; the registers of a device take 0x200`;
      source.error('window', at('window', 'size'), message, 'write 0x200', {
        kind: 'set',
        path: at('window', 'size'),
        value: '0x200',
      });
    }
    if (end.device !== undefined) {
      source.error('device-model', at('device'), 'a frontend has no device model', 'move it to the backend end');
    }
    if (drivers && end.driver === undefined) {
      const fix = 'add driver: { type: … }, or give the VM a program that drives its devices';
      source.error('driver', at(), `nothing drives ${end.name}`, fix);
    }
  }
}
