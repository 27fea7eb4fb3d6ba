import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { decodeHypervisorMessage, encodeVmMessage, PROTOCOL_VERSION } from '@remio/protocol';
import { BUILTIN_PROGRAMS, loadTopology } from '@remio/topology';
import { Connection } from '@remio/transport';
import { Relay } from '@remio/transport/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dealer } from 'zeromq';
import { root } from './run-remio.js';

// Debian's interpreter has Debian's packages; the one on the path may be another.
const python = ['/usr/bin/python3', 'python3'].find(
  (name) => spawnSync(name, ['-c', 'import zmq, msgpack, cryptography']).status === 0,
);
if (python === undefined) {
  const text = 'the Python frontend is skipped: python3-zmq, python3-msgpack or python3-cryptography is missing';
  if (process.env['CI'] !== undefined) throw new Error(text);
  console.log(text);
}

describe.each(['aarch64', 'riscv64'] as const)('a hypervisor and a backend, %s', (arch) => {
  const directory = `/dev/shm/remio-${process.pid}-wire-${arch}`;
  const endpoint = `ipc://${join(directory, 'hypervisor.sock')}`;
  const image = join(directory, 'disk.img');
  const file = join(root, 'deploy', 'topologies', `ping-${arch}.yaml`);
  const children: ChildProcess[] = [];
  let digest = '';
  /** Between the backend and the hypervisor. */
  let relay: Relay | undefined;

  const start = (entry: string, ...args: readonly string[]): Promise<void> =>
    new Promise((resolve, reject) => {
      const common = ['--topology', file, '--run-dir', directory, '--image', image];
      const child = spawn(process.execPath, [join(root, entry), ...common, ...args], {
        stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      });
      children.push(child);
      child.once('message', () => resolve());
      child.once('exit', (code) => reject(new Error(`${entry} ended with ${code}`)));
    });

  beforeAll(async () => {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(join(directory, 'owner'), String(process.pid));
    writeFileSync(image, new Uint8Array(1 << 20));
    digest = loadTopology(file, { images: { '*': image }, programs: BUILTIN_PROGRAMS }).topology?.digest ?? '';
    await start('apps/hypervisor/dist/service/main.js', '--endpoint', endpoint);
    const cuttable = join(directory, 'relay.sock');
    relay = await Relay.start(cuttable, join(directory, 'hypervisor.sock'));
    await start('apps/backend-vm/dist/main.js', '--vm', 'backend', '--connect', `ipc://${cuttable}`);
  });

  afterAll(() => {
    for (const child of children) child.kill('SIGTERM');
    relay?.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const attach = (vms: readonly string[], topology = digest) =>
    Connection.attach(endpoint, topology, vms, { onRecords: () => {}, onLost: () => {} });

  /** Says one thing as a stranger, and hears the answer. */
  const stranger = async (bytes: Uint8Array) => {
    const dealer = new Dealer({ linger: 0, receiveTimeout: 5000 });
    dealer.connect(endpoint);
    await dealer.send(Buffer.from(bytes));
    const [answer] = await dealer.receive();
    dealer.close();
    return decodeHypervisorMessage(answer ?? Buffer.alloc(0));
  };

  /** The Python frontend's readings, which it takes with its vCPU's loads. */
  const readings = async (...more: readonly string[]): Promise<unknown> => {
    const script = join(root, 'test', 'integration', 'python-frontend', 'frontend.py');
    const what = ['--connect', endpoint, '--digest', digest, '--vm', 'guest0', '--arch', arch];
    const args = [script, ...what, '--window', '0xa003e00', ...more];
    const { stdout } = await promisify(execFile)(python ?? '', args);
    return JSON.parse(stdout);
  };
  const registers = { MagicValue: 0x74726976, Version: 2, DeviceID: 2 };

  it.skipIf(python === undefined)(
    'serves a frontend in Python that was written from docs/wire-protocol.md',
    async () => {
      // Twice: the first has said goodbye, so the VM is free again.
      expect(await readings()).toEqual(registers);
      expect(await readings()).toEqual(registers);
    },
  );

  it.skipIf(python === undefined)(
    'goes on with VMs whose processes lose their connection, as if nothing was',
    async () => {
      expect(await readings('--drop')).toEqual(registers);
      relay?.drop();
      expect(await readings()).toEqual(registers);
      const observer = await attach([]);
      if (!observer.ok) throw new Error(observer.error.reason);
      expect(await observer.value.query('status', null)).toMatchObject({
        value: { vms: [{ name: 'backend', attached: true, incarnation: 1, losses: 0 }, { name: 'guest0' }] },
      });
      observer.value.detach('done');
    },
  );

  it('refuses what does not belong, with a reason, and goes on', async () => {
    expect(await attach(['nobody'])).toMatchObject({
      error: { code: 'unknown-vm', reason: expect.stringContaining('guest0') },
    });
    expect(await attach(['backend'])).toMatchObject({ error: { code: 'vm-taken' } });
    expect(await attach(['guest0'], 'another')).toMatchObject({ error: { code: 'topology' } });
    const hello = { kind: 'hello', version: PROTOCOL_VERSION + 1, digest, vms: ['guest0'] } as const;
    expect(await stranger(encodeVmMessage(hello))).toMatchObject({ value: { kind: 'refused', code: 'version' } });
    expect(await stranger(Buffer.from('no frame at all'))).toMatchObject({
      value: { kind: 'refused', code: 'protocol' },
    });
    const observer = await attach([]);
    if (!observer.ok) throw new Error(observer.error.reason);
    const status = await observer.value.query('status', null);
    expect(status).toMatchObject({
      value: { vms: [{ name: 'backend', attached: true, losses: 0 }, { name: 'guest0' }] },
    });
    observer.value.detach('done');
  });

  it('C13: cuts off a VM whose vCPU traps although it is not running, and no other', async () => {
    const guest = await attach(['guest0']);
    if (!guest.ok) throw new Error(guest.error.reason);
    const gone = new Promise<string>((resolve) => {
      const observed = Connection.attach(endpoint, digest, [], {
        onRecords: () => {},
        onLost: () => {},
        onReport: (vm, event) => {
          const report = event as { readonly kind?: string; readonly reason?: string };
          if (vm === 'guest0' && report.kind === 'lost') resolve(report.reason ?? '');
        },
      });
      void observed.then(() => {
        const trap = { arch: 'aarch64', esr: 0x93890007n, far: 0n, hpfar: 0n, pc: 0n, source: 0n } as const;
        const cpu = loadTopology(file, { images: { '*': image }, programs: BUILTIN_PROGRAMS }).topology?.vms[1]
          ?.cpus[0];
        const vm = loadTopology(file, { images: { '*': image }, programs: BUILTIN_PROGRAMS }).topology?.vms[1]?.id;
        if (cpu === undefined || vm === undefined || !guest.ok) return;
        const call = {
          arch,
          conduit: arch === 'aarch64' ? 'hvc' : 'ecall',
          pc: 0n,
          registers: Array.from({ length: arch === 'aarch64' ? 7 : 8 }, () => 0n),
        } as const;
        guest.value.send({ kind: 'off', vm, cpu });
        if (arch === 'aarch64') guest.value.send({ kind: 'trap', vm, cpu, trap });
        else guest.value.send({ kind: 'hypercall', vm, cpu, frame: call });
        guest.value.flush();
      });
    });
    expect(await gone).toContain('whose vCPU is off');
    const observer = await attach([]);
    if (!observer.ok) throw new Error(observer.error.reason);
    expect(await observer.value.query('status', null)).toMatchObject({
      value: {
        vms: [
          { name: 'backend', attached: true },
          { name: 'guest0', attached: false },
        ],
      },
    });
    observer.value.detach('done');
  });
});
