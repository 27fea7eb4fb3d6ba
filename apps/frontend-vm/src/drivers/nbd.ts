import type { Socket } from 'node:net';
import type { Result } from '@remio/base';
import { type GuestCpu, type GuestVm, ProgramError } from '@remio/guest';
import { listenTcp, listenUnix } from '@remio/host-io';
import { yieldCpu } from '@remio/shared-memory';
import type { NbdDriverChoice } from '@remio/topology';
import { diskBytes, VirtioBlkDriver } from '@remio/virtio-driver';
import { NbdServer } from '../nbd/server.js';
import type { DriverProgram } from './index.js';
import { orThrow } from './or-throw.js';

/** Most descriptors of the queue: a request takes three where tables are not negotiated. */
const QUEUE_SIZE = 256;
/**
 * Nanoseconds that the driver looks at the used ring, after something happened there, before it sleeps. An interrupt
 * costs two trapped accesses, and the device a notification when it wakes up in its turn: about this long.
 */
const SPIN_NS = 200_000;

/** Exports a disk as an NBD server, on a Unix socket, a port, or both. It ends when its device is of no use any more. */
export const nbd =
  (options: NbdDriverChoice): DriverProgram =>
  async (cpu, end, vm) => {
    const driver = orThrow(await VirtioBlkDriver.probe(cpu, end, { queueSize: QUEUE_SIZE }));
    let asleep = false;
    const wake = (): void => {
      if (asleep) cpu.hostEvent();
    };
    const created = NbdServer.create(
      driver,
      { name: options.exportName, description: `${end.name} of ${vm.name}`, connections: options.connections },
      wake,
    );
    if (!created.ok) throw new ProgramError(created.error);
    const server = created.value;
    const listening = await listen(options, (socket) => server.accept(socket), vm);
    vm.onStop(async () => {
      server.close();
      await Promise.all(listening.map(({ close }) => close()));
    });
    vm.report({
      kind: 'nbd',
      device: end.name,
      export: options.exportName,
      bytes: diskBytes(driver.capacity),
      addresses: listening.map(({ address }) => address),
    });
    cpu.onInterrupt(cpu.hostIrq, () => {});
    await serve(
      cpu,
      driver,
      server,
      () => Number(vm.hostTime()),
      (sleeping) => {
        asleep = sleeping;
      },
    );
  };

/** Serves until the device is broken. */
async function serve(
  cpu: GuestCpu,
  driver: VirtioBlkDriver,
  server: NbdServer,
  now: () => number,
  sleeping: (asleep: boolean) => void,
): Promise<never> {
  let busyAt = 0;
  driver.setInterrupts(false);
  for (;;) {
    const ended = driver.poll();
    const turned = server.turn();
    const notify = server.disk.publish();
    if (notify) await driver.notify(cpu, 0);
    if (driver.broken !== undefined) {
      server.close();
      throw new ProgramError(`${driver.broken.code} (VirtIO ${driver.broken.clause}): ${driver.broken.detail}`);
    }
    if (ended > 0 || turned) busyAt = now();
    if (server.awake || (server.disk.open > 0 && now() - busyAt < SPIN_NS)) {
      // Looking is worth nothing if it keeps off those who could make something happen.
      if (!server.awake) yieldCpu();
      await nextTurn();
      // A load from memory is no exit, but interrupts are taken before it.
      await cpu.load8(driver.allocator.memory.base);
      continue;
    }
    if (driver.setInterrupts(true)) {
      driver.setInterrupts(false);
      continue;
    }
    sleeping(true);
    await cpu.waitForInterrupt();
    sleeping(false);
    driver.setInterrupts(false);
  }
}

/** The turn after the one in which the host looked at its sockets. */
const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Listening {
  readonly address: string;
  close(): Promise<void>;
}

/** Listens wherever it is told to. */
async function listen(
  options: NbdDriverChoice,
  accept: (socket: Socket) => void,
  vm: GuestVm,
): Promise<readonly Listening[]> {
  const listening: Listening[] = [];
  const add = <T extends { close(): Promise<void> }>(
    result: Result<T, string>,
    address: (listener: T) => string,
  ): void => {
    if (!result.ok) throw new ProgramError(result.error);
    const listener = result.value;
    listening.push({ address: address(listener), close: () => listener.close() });
  };
  const { socket, tcp } = options;
  if (socket !== undefined) add(await listenUnix(socket, accept), () => `unix:${socket}`);
  if (tcp !== undefined) add(await listenTcp(tcp.host, tcp.port, accept), ({ port }) => `tcp:${tcp.host}:${port}`);
  vm.log(`listening on ${listening.map(({ address }) => address).join(' and ')}`);
  return listening;
}
