import { ProgramError } from '@remio/guest';
import { openEndpoint } from '@remio/host-io';
import type { ConsoleDriverChoice, ConsoleDriverPort } from '@remio/topology';
import { type ConsolePort, VirtioConsoleDriver } from '@remio/virtio-driver';
import { EchoLine, HostLine, type PortLine } from './console-lines.js';
import type { DriverProgram } from './index.js';
import { orThrow } from './or-throw.js';

/**
 * Takes the ports of a console to lines of the host on which the guest runs, and reports what becomes of the ports. It
 * has ended its work when no line will bring anything any more.
 */
export const consoleLines =
  ({ ports: wanted }: ConsoleDriverChoice): DriverProgram =>
  async (cpu, end, vm) => {
    let awake = true;
    const wake = (): void => {
      awake = true;
      cpu.hostEvent();
    };
    const lines: { readonly port: number | string; readonly line: PortLine }[] = [];
    try {
      for (const { port, line } of wanted) lines.push({ port, line: await open(line, wake) });
      const most = Math.max(...wanted.map(({ port }) => (typeof port === 'number' ? port + 1 : PORTS_BY_NAME)));
      const driver = orThrow(await VirtioConsoleDriver.probe(cpu, end, { ports: most }));
      driver.happened = () => {
        awake = true;
      };
      const told = new Map<number, string>();
      while (!lines.every(({ line }) => line.over)) {
        awake = false;
        if (driver.broken !== undefined) orThrow({ ok: false, error: driver.broken });
        for (const port of driver.ports) {
          const state = describe(port);
          if (told.get(port.id) !== JSON.stringify(state)) vm.report({ kind: 'console', device: end.name, ...state });
          told.set(port.id, JSON.stringify(state));
          if (!port.present) continue;
          for (const { port: key, line } of lines) if (key === port.id || key === port.name) line.pump(port);
        }
        const changed = await driver.flush(cpu);
        if (!changed && !awake) await cpu.waitForInterrupt();
      }
    } finally {
      await Promise.all(lines.map(({ line }) => line.close()));
    }
  };

/** Ports that are looked through for names. */
const PORTS_BY_NAME = 8;

async function open(line: ConsoleDriverPort['line'], wake: () => void): Promise<PortLine> {
  if (line.kind === 'echo') return new EchoLine();
  const source = await openEndpoint(line, false);
  if (!source.ok) throw new ProgramError(source.error);
  return new HostLine(source.value, wake);
}

const describe = ({ id, name, present, isConsole, hostOpen, size }: ConsolePort): object => ({
  port: id,
  present,
  ...(name === undefined ? {} : { name }),
  console: isConsole,
  open: hostOpen,
  ...(size === undefined ? {} : { size: `${size.cols}x${size.rows}` }),
});
