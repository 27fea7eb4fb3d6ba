import { type GuestProgram, type GuestVm, ProgramError } from '@remio/guest';
import { load } from './load.js';
import type { LoadOptions, StartGate } from './options.js';

/** What whoever started a process of frontends tells it once all clients of the platform are ready. */
export interface StartMessage {
  readonly kind: 'start';
  /** Nanoseconds of the host's monotonic clock, which is every vCPU's counter. */
  readonly at: number;
}

/** The kind of report by which a VM says that all its vCPUs are ready. */
export const LOAD_READY = 'load-ready';

/** Options of the program `load`. */
export type LoadProgramOptions = Partial<LoadOptions> & {
  /** Begin at the time of a {@link StartMessage}; absent: when this VM is ready. */
  readonly start?: 'told';
};

/** The program `load`: of one VM alone, or of many in several processes that begin together. */
export const loadProgram = ({ start, ...options }: LoadProgramOptions): GuestProgram =>
  start === 'told' ? (boot, vm) => load(options, toldGate(vm))(boot, vm) : load(options);

/** Tells that a VM is ready, and waits with it until its process is told when to begin. */
function toldGate(vm: GuestVm): StartGate {
  if (process.send === undefined) {
    throw new ProgramError('`start: told` waits for whoever started this process to say when: leave it out');
  }
  let missing = vm.cpus;
  return {
    ready: () => {
      missing -= 1;
      if (missing === 0) vm.report({ kind: LOAD_READY });
      return toldStart();
    },
  };
}

let told: Promise<number> | undefined;

/** When all begin: the same for every VM of this process. */
function toldStart(): Promise<number> {
  told ??= new Promise((resolve) => {
    process.on('message', (message: Partial<StartMessage>) => {
      if (message.kind === 'start' && typeof message.at === 'number') resolve(message.at);
    });
  });
  return told;
}
