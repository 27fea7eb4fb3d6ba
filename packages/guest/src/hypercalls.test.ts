import { type Arch, HC_REMIO, hypercallRegisters } from '@remio/arch';
import { requestId } from '@remio/base';
import { describe, expect, it } from 'vitest';
import { type GuestCpu, ipcNotify, remioAsk, remioComplete, remioNotify } from './index.js';

/** A vCPU that answers every hypercall with the same registers and notes what it was called with. */
function answering(arch: Arch, result: bigint, outputs: readonly bigint[] = []) {
  const calls: (readonly bigint[])[] = [];
  const registers = arch === 'aarch64' ? [result, ...outputs] : [0n, result, ...outputs];
  const cpu = {
    arch,
    hypercall: (given: readonly bigint[]) => {
      calls.push(given);
      return Promise.resolve(registers);
    },
  } satisfies Pick<GuestCpu, 'arch' | 'hypercall'>;
  return { cpu: cpu as unknown as GuestCpu, calls };
}

describe.each(['aarch64', 'riscv64'] as const)('Remote I/O hypercalls on %s', (arch) => {
  const call = (op: bigint, addr = 0n, value = 0n, id = 0n) =>
    hypercallRegisters(arch, { nr: HC_REMIO, dm: 3n, op, addr, value, id });

  it('ASK gives the request that the outputs describe', async () => {
    const { cpu, calls } = answering(arch, 0n, [0xa00_0070n, 0n, 15n, 4n, 9n, 1n]);
    expect(await remioAsk(cpu, 3)).toEqual({
      kind: 'request',
      dm: 3,
      addr: 0xa00_0070n,
      write: true,
      value: 15n,
      width: 4,
      id: 9n,
      more: true,
    });
    expect(calls).toEqual([call(2n)]);
  });

  it('ASK answers +1 when nothing is pending, and a negative code for a mistake', async () => {
    expect(await remioAsk(answering(arch, 1n).cpu, 3)).toEqual({ kind: 'empty' });
    const refused = answering(arch, 0xffff_ffff_ffff_fffdn);
    expect(await remioAsk(refused.cpu, 3)).toEqual({ kind: 'error', code: -3n });
  });

  it.each([
    ['READ', false, 1n],
    ['WRITE', true, 0n],
  ])('a completion is a %s with the address and id of its request', async (_name, write, op) => {
    const { cpu, calls } = answering(arch, 0xffff_ffff_ffff_ffffn);
    const request = {
      kind: 'request' as const,
      dm: 3,
      addr: 0xa00_0000n,
      write,
      value: 0n,
      width: 4,
      id: requestId(9n),
      more: false,
    };
    expect(await remioComplete(cpu, request, 0x7472_6976n)).toBe(-1n);
    expect(calls).toEqual([call(op, 0xa00_0000n, 0x7472_6976n, 9n)]);
  });

  it('IPC names the object and the event', async () => {
    const { cpu, calls } = answering(arch, 0xffff_ffff_ffff_fffdn);
    expect(await ipcNotify(cpu, 1, 7)).toBe(-3n);
    expect(calls).toEqual([
      arch === 'aarch64' ? [0xc600_0001n, 1n, 7n, 0n, 0n, 0n, 0n] : [1n, 7n, 0n, 0n, 0n, 0n, 1n, 0x0800_0ba0n],
    ]);
  });

  it('NOTIFY names the device alone', async () => {
    const { cpu, calls } = answering(arch, 0n);
    expect([await remioNotify(cpu, 3), calls]).toEqual([0n, [call(3n)]]);
  });
});
