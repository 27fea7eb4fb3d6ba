import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, cpSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { assert, Prng } from '@remio/base';
import { peerKeys } from '@remio/hypervisor';
import {
  type ControlMessage,
  decodeControl,
  encodeVmMessage,
  greetingDigest,
  PROTOCOL_VERSION,
  proofKey,
  proofOf,
} from '@remio/protocol';
import { BUILTIN_PROGRAMS, loadTopology, type Topology } from '@remio/topology';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dealer } from 'zeromq';
import { FarHosts } from './far-hosts.js';
import { freePort } from './free-port.js';
import { remio, root } from './run-remio.js';

const python = ['/usr/bin/python3', 'python3'].find(
  (name) => spawnSync(name, ['-c', 'import zmq, msgpack, cryptography']).status === 0,
);
if (python === undefined) {
  const text = 'a Python frontend with keys is skipped: python3-zmq, -msgpack or -cryptography is missing';
  if (process.env['CI'] !== undefined) throw new Error(text);
  console.log(text);
}

const scratch = mkdtempSync(join(tmpdir(), 'remio-keys-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const disk = new Uint8Array(64 * 1024);
new Prng(7).fill(disk);
const sha256 = createHash('sha256').update(disk).digest('hex');

const end = (n: number, type: string, interrupt: number, more: string): string => `
      - name: disk${n}
        type: ${type}
        bind_key: ${n}
        interrupt: ${interrupt}
        shmem: { memory: disk${n}, base: 0xd${n}000000 }
        ${more}`;

const TOPOLOGY = `
name: guarded
board: { name: synthetic-riscv64, cpus: 3 }
shared_memories: { disk0: { size: 1MiB }, disk1: { size: 1MiB } }
vms:
  backend: # serves both
    cpus: 1
    remio_devs:${[0, 1].map((n) => end(n, 'backend', 40 + n, `device: { type: block, image: disk${n}.img }`)).join('')}
  guest0:
    cpus: 1
    program: { builtin: blk-verify, options: { writes: 32 } }
    remio_devs:${end(0, 'frontend', 79, 'window: { base: 0xa003e00 }')}
  guest1:
    cpus: 1
    program: idle
    remio_devs:${end(1, 'frontend', 79, 'window: { base: 0xa003e00 }')}
`;

describe('a hypervisor with keys, over TCP', () => {
  const hosts = new FarHosts();
  const file = join(scratch, 'guarded.yaml');
  const keys = join(scratch, 'keys');
  let endpoint = '';
  let metrics = '';
  let topology: Topology;

  const vm = (name: string, directory: string | undefined, path = file): readonly string[] => [
    ...['--topology', path, '--connect', endpoint, '--vm', name],
    ...(directory === undefined ? [] : ['--keys', directory]),
  ];

  /** A copy of the keys, or of the topology, with something changed. */
  const otherKeys = (name: string, change: (directory: string) => void): string => {
    const directory = join(scratch, name);
    cpSync(keys, directory, { recursive: true });
    change(directory);
    return directory;
  };
  const otherTopology = (name: string, change: (text: string) => string): string => {
    const path = join(scratch, `${name}.yaml`);
    writeFileSync(path, change(readFileSync(file, 'utf8')));
    return path;
  };
  const refusals = async (): Promise<number> =>
    Number(/^remio_peers_refused_total (\d+)/m.exec(await (await fetch(metrics)).text())?.[1]);
  const log = (): string => hosts.logs[0] ?? '';

  beforeAll(async () => {
    writeFileSync(file, TOPOLOGY);
    for (const n of [0, 1]) writeFileSync(join(scratch, `disk${n}.img`), disk);
    expect(await remio('keys', file, '-o', keys, '--write')).toMatchObject({ code: 0 });
    const loaded = loadTopology(file, { programs: BUILTIN_PROGRAMS }).topology;
    assert(loaded !== undefined, 'the topology with keys is good');
    topology = loaded;
    endpoint = `tcp://127.0.0.1:${await freePort()}`;
    const port = await freePort();
    metrics = `http://127.0.0.1:${port}/metrics`;
    const own = ['--topology', file, '--endpoint', endpoint, '--metrics', String(port)];
    await expect(hosts.start('hypervisor', own)).rejects.toThrow(/ended with 2 .*--keys DIR/s);
    hosts.logs.length = 0;
    await hosts.start('hypervisor', [...own, '--keys', keys]);
  });
  afterAll(() => hosts.stop());

  it('has secret keys that nobody else may read, and replaces none unasked', async () => {
    for (const name of ['hypervisor', 'observer', 'vm-backend', 'vm-guest0', 'vm-guest1']) {
      expect(statSync(join(keys, `${name}.key_secret`)).mode & 0o777).toBe(0o600);
    }
    expect(readFileSync(file, 'utf8').startsWith(TOPOLOGY)).toBe(true);
    const before = readFileSync(join(keys, 'vm-guest0.key_secret'), 'utf8');
    expect(await remio('keys', file, '-o', keys)).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--force'),
    });
    const kept = otherKeys('kept', (at) => rmSync(join(at, 'vm-guest1.key_secret')));
    expect(await remio('keys', file, '-o', kept, '--add')).toMatchObject({ code: 0 });
    expect(readFileSync(join(kept, 'vm-guest0.key_secret'), 'utf8')).toBe(before);
    expect(await remio('keys', file, '-o', kept, '--force')).toMatchObject({ code: 0 });
    expect(readFileSync(join(kept, 'vm-guest0.key_secret'), 'utf8')).not.toBe(before);
  });

  it('turns away whoever has not the key of what he asks for, who learns why and ends', async () => {
    const before = await refusals();
    const stranger = join(scratch, 'stranger');
    expect(await remio('keys', file, '-o', stranger)).toMatchObject({ code: 0 });
    const [guest0 = '', guest1 = ''] = topology.vms.slice(1).map(({ key }) => key);
    const strange = (name: string): string =>
      /public-key = "(.*)"/.exec(readFileSync(join(stranger, name), 'utf8'))?.[1] ?? '';
    const replace = (from: string | undefined, to: string) => (text: string) => text.replace(from ?? '', () => to);
    // His file binds his own key to the VM of another.
    const swap = (text: string) =>
      text
        .replace(guest0, () => 'his')
        .replace(guest1, () => guest0)
        .replace('his', () => guest1);
    const swapKeys = (at: string): void => cpSync(join(at, 'vm-guest0.key_secret'), join(at, 'vm-guest1.key_secret'));
    const attempts: readonly (readonly [readonly string[], RegExp])[] = [
      // What he has is wrong: he does not even connect.
      [
        vm(
          'guest0',
          otherKeys('open', (at) => chmodSync(join(at, 'vm-guest0.key_secret'), 0o644)),
        ),
        /with 2 .*mode 0644/s,
      ],
      [
        vm(
          'guest0',
          otherKeys('lost', (at) => rmSync(join(at, 'vm-guest0.key_secret'))),
        ),
        /with 2 .*there is no key file/s,
      ],
      [vm('guest0', stranger), /with 2 .*keys\.vms\.guest0/s],
      // He is turned away.
      [vm('guest0', undefined), /with 3 .*--keys DIR/s],
      [
        vm(
          'guest0',
          keys,
          otherTopology('other', replace(topology.keys?.hypervisor, strange('hypervisor.key_secret'))),
        ),
        /with 3 .*keys\.hypervisor/s,
      ],
      [
        vm('guest0', stranger, otherTopology('unknown', replace(guest0, strange('vm-guest0.key_secret')))),
        /with 3 .*does not know the key/s,
      ],
      [
        vm('guest1', otherKeys('foreign', swapKeys), otherTopology('foreign', swap)),
        /with 3 .*its keys are not those/s,
      ],
    ];
    for (const [n, [args, why]] of attempts.entries()) {
      await expect(hosts.start('frontend', args), `attempt ${n}`).rejects.toThrow(why);
    }
    // One each, and a line of the log; who had another key for the hypervisor may have been counted more than once.
    expect((await refusals()) - before).toBeGreaterThanOrEqual(4);
    expect(log()).toMatch(/"vm":"guest1","msg":"refused: /);
    expect(log()).toContain(strange('vm-guest0.key_secret'));
    expect(log()).not.toMatch(/a process attached/);
  });

  it('gives nothing for a proof that somebody has used before', async () => {
    const loaded = peerKeys(topology, ['guest0'], keys);
    assert(loaded.ok, 'the keys are right');
    const { hypervisor, own } = loaded.value;
    const pair = own.get('guest0');
    assert(pair !== undefined, 'it has the key of guest0');
    const dealer = new Dealer({
      curveServerKey: hypervisor,
      curvePublicKey: pair.publicKey,
      curveSecretKey: pair.secretKey,
      linger: 0,
    });
    dealer.connect(endpoint);
    const ask = async (message: ControlMessage): Promise<ControlMessage> => {
      await dealer.send(encodeVmMessage(message));
      const [frame] = await dealer.receive();
      const decoded = decodeControl(frame ?? Buffer.of());
      assert(decoded.ok, 'the hypervisor says what is a frame');
      return decoded.value;
    };
    // For another topology, so it is proven, and refused all the same: the VM stays free.
    const hello = { kind: 'hello', version: PROTOCOL_VERSION, digest: 'another', vms: ['guest0'] } as const;
    const first = await ask(hello);
    assert(first.kind === 'challenge', 'a challenge follows');
    const key = proofKey(pair, hypervisor, 'peer');
    const proof = {
      kind: 'proof',
      proofs: [{ name: 'guest0', proof: proofOf(key, first.nonce, greetingDigest(encodeVmMessage(hello))) }],
    } as const;
    expect(await ask(proof)).toMatchObject({ kind: 'refused', code: 'topology' });
    expect(await ask(proof)).toMatchObject({ kind: 'refused', code: 'protocol' });
    expect(await ask(hello)).toMatchObject({ kind: 'challenge' });
    expect(await ask(proof)).toMatchObject({ kind: 'refused', code: 'denied' });
    dealer.close();
  });

  it('lets those do their verified I/O who have the keys, and those watch', async () => {
    await hosts.start('watcher', [endpoint, keys]);
    await hosts.start('backend', vm('backend', keys));
    await hosts.start('frontend', vm('guest0', keys));
    const { event } = await hosts.report((seen) => seen.event['kind'] === 'blk-verify');
    expect(event).toMatchObject({ sha256, mismatches: 0, failed: 0 });
    const ring = ['ring', 'guest0', 'disk0', '0', '--endpoint', endpoint];
    expect(await remio(...ring)).toMatchObject({ code: 3, stderr: expect.stringContaining('--keys DIR') });
    // It got as far as the queue, whose memory lies with the guest.
    expect(await remio(...ring, '--keys', keys)).toMatchObject({ stderr: expect.not.stringContaining('--keys') });
  });

  it.skipIf(python === undefined)(
    'serves a frontend in Python that proves its key as docs/wire-protocol.md says, also after it lost its connection',
    async () => {
      const script = join(root, 'test', 'integration', 'python-frontend', 'frontend.py');
      const what = ['--connect', endpoint, '--digest', topology.digest, '--vm', 'guest1', '--arch', 'riscv64'];
      const args = [script, ...what, '--window', '0xa003e00', '--drop', '--keys', keys];
      const { stdout } = await promisify(execFile)(python ?? '', args);
      expect(JSON.parse(stdout)).toEqual({ MagicValue: 0x74726976, Version: 2, DeviceID: 2 });
    },
  );
});
