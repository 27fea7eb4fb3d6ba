import { backendPrograms } from '@remio/backend-vm';
import { assert } from '@remio/base';
import { BUILTIN_PROGRAMS, isBackend, parseTopology, starTopology } from '@remio/topology';
import { InprocEngine } from '@remio/vm-runtime';
import { describe, expect, it } from 'vitest';
import { LOAD_READY, loadProgram, type StartMessage } from './index.js';

const VMS = 2;

describe('the program load, told when to start', () => {
  it('says once that all vCPUs of a VM are ready, and begins with all others when its process is told', async () => {
    const text = starTopology({ arch: 'aarch64', frontends: VMS, vcpus: 2, perBackend: 2, work: 'rng', amount: 64 });
    const { topology } = parseTopology(text, 'star.yaml', {
      resolve: (path) => path,
      programs: BUILTIN_PROGRAMS,
      files: { exists: () => true, imageProblem: () => undefined, directoryProblem: () => undefined },
    });
    assert(topology !== undefined, 'a star is a good topology');
    const kinds: string[] = [];
    const heard: (() => void)[] = [];
    const times = async (kind: string, count: number): Promise<void> => {
      while (kinds.filter((each) => each === kind).length < count) await new Promise<void>((go) => heard.push(go));
    };
    const { dispatcher = loadProgram } = backendPrograms;
    const options = { start: 'told', type: 'mmio', warmUp: 0, duration: 10_000_000 } as const;
    const engine = InprocEngine.create(topology, (vm) => (isBackend(vm) ? dispatcher({}) : loadProgram(options)), {
      report: ({ name }, { kind, vcpu, reason }) => {
        if (kind === LOAD_READY || kind === 'load') kinds.push(kind);
        if (reason !== undefined) throw new Error(`vCPU ${vcpu} of ${name} stopped: ${reason}`);
        for (const go of heard.splice(0)) go();
      },
      log: () => {},
    });
    assert(engine.ok, 'the core takes a star');
    engine.value.start();
    await times(LOAD_READY, VMS);
    // Whoever did not wait would have been done by then.
    await new Promise((go) => setTimeout(go, 50));
    expect(kinds).toEqual([LOAD_READY, LOAD_READY]);
    const message: StartMessage = { kind: 'start', at: Number(process.hrtime.bigint()) };
    process.emit('message', message, undefined);
    await times('load', VMS);
    await engine.value.stop();
    expect(kinds).toEqual([LOAD_READY, LOAD_READY, 'load', 'load']);
  });
});
