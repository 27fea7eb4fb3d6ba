import { type DeviceMaker, dispatcher } from '@remio/backend-vm';
import type { GuestCpu, GuestDeviceEnd, GuestProgram, GuestVm } from '@remio/guest';
import { BUILTIN_PROGRAMS, parseTopology, type Topology, type Vm } from '@remio/topology';
import type { VirtioDevice } from '@remio/virtio-device';
import { InprocEngine } from '@remio/vm-runtime';

/** What runs on the frontend's vCPU. */
export type PairProgram<T> = (cpu: GuestCpu, end: GuestDeviceEnd, vm: GuestVm) => Promise<T>;

const topologyText = (devices: number): string => {
  const end = (n: number, rest: string): string =>
    `      - { name: d${n}, bind_key: ${n}, shmem: { memory: m${n}, base: 0x${(0xd000_0000 + n * 0x200_0000).toString(16)} }, ${rest} }`;
  const all = Array.from({ length: devices }, (_, n) => n);
  return [
    'board: { name: synthetic-riscv64, cpus: 8 }',
    'shared_memories:',
    ...all.map((n) => `  m${n}: { size: 16MiB }`),
    'vms:',
    '  back:',
    '    cpus: 1',
    '    remio_devs:',
    ...all.map((n) => end(n, `type: backend, interrupt: ${40 + n}, device: { module: test.js }`)),
    ...all.flatMap((n) => [
      `  front${n}:`,
      '    cpus: 1',
      '    program: { module: test.js }',
      '    remio_devs:',
      end(n, 'type: frontend, interrupt: 79, window: { base: 0xa003e00 }'),
    ]),
  ].join('\n');
};

/** A topology from its text; whatever it names outside exists. */
export function topologyOf(text: string): Topology {
  const { topology, diagnostics } = parseTopology(text, 'test.yaml', {
    resolve: (path) => path,
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });
  if (topology === undefined) throw new Error(JSON.stringify(diagnostics));
  return topology;
}

/**
 * Runs programs of frontends, each against a device model, through the whole path in one process: trap, core, dispatcher,
 * register model, queues.
 * @param backend what runs on the backend, if not the dispatcher
 * @returns what the programs returned, in order, when all have
 */
export async function pairs<T>(
  ends: readonly { readonly device: VirtioDevice; readonly program: PairProgram<T> }[],
  backend: (make: DeviceMaker) => GuestProgram = dispatcher,
): Promise<readonly T[]> {
  const topology = topologyOf(topologyText(ends.length));
  const make: DeviceMaker = (end) => {
    const device = ends[Number(end.bindKey)]?.device;
    return device === undefined ? Promise.reject(new Error('no device')) : Promise.resolve(device);
  };
  const results: T[] = [];
  const guest = (vm: Vm): GuestProgram => {
    const index = Number(vm.name.replace('front', ''));
    const program = ends[index]?.program;
    if (program === undefined) return backend(make);
    return async (cpu, view) => {
      const [end] = view.devices;
      if (end === undefined) throw new Error('no device');
      results[index] = await program(cpu, end, view);
    };
  };
  return new Promise((resolve, reject) => {
    let open = ends.length;
    const created = InprocEngine.create(topology, guest, {
      report: (vm, event) => {
        if (event.kind !== 'vcpu-off') return;
        const reason = event['reason'];
        open -= 1;
        if (reason !== undefined || open === 0) engine.stop();
        if (reason !== undefined) reject(new Error(`${vm.name}: ${String(reason)}`));
        else if (open === 0) resolve(results);
      },
      log: () => {},
    });
    if (!created.ok) throw new Error(created.error);
    const engine = created.value;
    engine.start();
  });
}

/**
 * One frontend against one device model.
 * @param backend what runs on the backend, if not the dispatcher
 */
export async function pair<T>(
  device: VirtioDevice,
  program: PairProgram<T>,
  backend?: (make: DeviceMaker) => GuestProgram,
): Promise<T> {
  const [result] = await pairs([{ device, program }], backend);
  return result as T;
}
