import { BUILTIN_PROGRAMS, parseTopology, starTopology, type Topology } from '@remio/topology';
import { describe, expect, it } from 'vitest';
import { placeVms } from './placement.js';

const star = (frontends: number, hosts = ''): Topology => {
  const text = starTopology({ arch: 'aarch64', frontends, vcpus: 1, perBackend: 20, work: 'idle', amount: 1 });
  const { topology } = parseTopology(`${text}${hosts}`, 'star.yaml', {
    resolve: (path) => path,
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });
  if (topology === undefined) throw new Error('a star is a good topology');
  return topology;
};

const shown = (topology: Topology, processes?: number): readonly string[] =>
  placeVms(topology, processes).map(({ name, part, vms }) => `${name} ${part} ${vms.length}`);

describe('VMs on processes', () => {
  it('have one each while they are few', () => {
    expect(shown(star(2))).toEqual(['backend0 backend-vm 1', 'guest0 frontend-vm 1', 'guest1 frontend-vm 1']);
  });

  it('still have one each when they are sixteen, however many CPUs there are', () => {
    const processes = placeVms(star(16)).filter(({ part }) => part === 'frontend-vm');
    expect(processes.map(({ name }) => name)).toEqual(Array.from({ length: 16 }, (_, n) => `guest${n}`));
  });

  it('share as many as were asked for, and each VM is on one', () => {
    const topology = star(50);
    expect(shown(topology, 2)).toEqual([
      'backend-vms-0 backend-vm 2',
      'backend1 backend-vm 1',
      'frontend-vms-0 frontend-vm 25',
      'frontend-vms-1 frontend-vm 25',
    ]);
    const placed = placeVms(topology, 3).flatMap(({ vms }) => vms.map((vm) => vm.name));
    expect([...placed].sort()).toEqual(topology.vms.map((vm) => vm.name).sort());
  });

  it('share a few where they are many', () => {
    const processes = placeVms(star(60)).filter(({ part }) => part === 'frontend-vm');
    expect(processes.length).toBeLessThan(60);
    expect(processes.reduce((sum, { vms }) => sum + vms.length, 0)).toBe(60);
  });

  it('stay where the topology puts them', () => {
    expect(shown(star(3, 'hosts: { pair: [guest0, guest2] }\n'), 1)).toEqual([
      'pair frontend-vm 2',
      'backend0 backend-vm 1',
      'guest1 frontend-vm 1',
    ]);
  });
});
