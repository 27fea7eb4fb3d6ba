import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { cpuTimeOf } from './process-times.js';

/** Nanoseconds of CPU time of this process, as it counts them itself. */
const ownCpuTime = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
};

describe('the CPU time of a process', () => {
  it('is what the process counts itself, to within a few ticks', () => {
    const [own, seen] = [ownCpuTime(), cpuTimeOf(process.pid) ?? 0];
    while (ownCpuTime() < own + 200e6);
    const [more, moreSeen] = [ownCpuTime() - own, (cpuTimeOf(process.pid) ?? 0) - seen];
    expect(Math.abs(moreSeen - more)).toBeLessThan(50e6);
  });

  it('is none of a process that has ended', () => {
    const { pid } = spawnSync(process.execPath, ['--version']);
    expect(cpuTimeOf(pid)).toBeUndefined();
  });
});
