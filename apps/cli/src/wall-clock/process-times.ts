import { readFileSync } from 'node:fs';

/** Nanoseconds of a clock tick as Linux counts CPU time for others (USER_HZ, 100 a second on every architecture that has Node). */
const TICK_NS = 10_000_000;
/** Positions of utime and stime behind the name of the program (proc_pid_stat(5), fields 14 and 15). */
const UTIME = 11;
const STIME = 12;

/** CPU time that a process took so far, in nanoseconds, to within two ticks; undefined: it has ended. */
export function cpuTimeOf(pid: number): number | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The program's name may have spaces and brackets in it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[UTIME]) + Number(fields[STIME])) * TICK_NS;
}
