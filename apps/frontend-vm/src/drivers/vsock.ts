import { ProgramError } from '@remio/guest';
import { connectUnix, listenUnix, NodeStream, type UnixListener } from '@remio/host-io';
import type { VsockDriverChoice } from '@remio/topology';
import { VirtioVsockDriver } from '@remio/virtio-driver';
import type { DriverProgram } from './index.js';
import { orThrow } from './or-throw.js';

/**
 * Takes connections of a socket device to Unix sockets of the host on which the guest runs, and back. It works until the
 * device fails.
 */
export const vsockBridge =
  ({ accept, dial }: VsockDriverChoice): DriverProgram =>
  async (cpu, end, vm) => {
    const driver = orThrow(await VirtioVsockDriver.probe(cpu, end));
    let awake = true;
    driver.happened = () => {
      if (awake) return;
      awake = true;
      cpu.hostEvent();
    };
    driver.requested = (request) => {
      const target = accept.find(({ port }) => port === request.flow.localPort);
      if (target === undefined) {
        request.refuse();
        return;
      }
      void connectUnix(target.connect).then((connected) => {
        if (connected.ok) request.accept(new NodeStream({ input: connected.value, output: connected.value }));
        else request.refuse();
      });
    };
    const listeners: UnixListener[] = [];
    try {
      for (const { listen, port, cid } of dial) {
        const listener = await listenUnix(listen, (socket) => {
          const stream = new NodeStream({ input: socket, output: socket });
          const connection = driver.connect(BigInt(cid), port, (established) => {
            if (established) connection?.join(stream);
            else stream.destroy();
          });
          if (connection === undefined) stream.destroy();
        });
        if (!listener.ok) throw new ProgramError(listener.error);
        listeners.push(listener.value);
      }
      vm.report({ kind: 'vsock', device: end.name, cid: Number(driver.cid) });
      for (;;) {
        awake = true;
        if (driver.broken !== undefined) orThrow({ ok: false, error: driver.broken });
        while (await driver.flush(cpu));
        awake = false;
        if (!driver.pending && driver.broken === undefined) await cpu.waitForInterrupt();
      }
    } finally {
      driver.close();
      await Promise.all(listeners.map((listener) => listener.close()));
    }
  };
