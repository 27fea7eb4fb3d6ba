import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RunningRemio, remio } from './run-remio.js';

const scratch = mkdtempSync(join(tmpdir(), 'remio-ring-'));
const image = join(scratch, 'disk.img');

beforeAll(() => writeFileSync(image, new Uint8Array(1 << 20)));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const topology = (ring: string): string => `
board: qemu-riscv64-virt
shared_memories:
  disk0: { size: 16MiB }
vms:
  backend:
    cpus: 1
    remio_devs:
      - name: disk0
        type: backend
        bind_key: 0
        interrupt: 36
        shmem: { memory: disk0, base: 0xd0000000 }
        device: { type: block, image: disk.img, queue_size: 100 }
        ring: ${ring}
  guest0:
    cpus: 1
    program: { builtin: blk-verify, options: { writes: 4 } }
    remio_devs:
      - name: disk0
        type: frontend
        bind_key: 0
        window: { base: 0xa003e00 }
        interrupt: 79
        shmem: { memory: disk0, base: 0xd0000000 }
`;

describe('remio ring', () => {
  it.each([
    ['packed', '{}', 100],
    ['split', '{ packed: false }', 64],
  ])('shows a %s queue of a running platform, of the size that was negotiated', async (layout, ring, size) => {
    const file = join(scratch, `${layout}.yaml`);
    writeFileSync(file, topology(ring));
    const running = new RunningRemio(['up', file, '--json']);
    const first = await running.line((line) => line.includes('"endpoint"'));
    const { endpoint } = JSON.parse(first) as { readonly endpoint: string };
    await running.line((line) => line.includes('"blk-verify"'));
    const shown = await remio('ring', 'guest0', 'disk0', '0', '--endpoint', endpoint, '--json');
    running.process.kill('SIGTERM');
    await running.ended;
    expect(JSON.parse(shown.stdout)).toMatchObject({ layout, size, inFlight: [] });
    // The last request was a read of 4096 bytes, with a status byte.
    expect(JSON.parse(shown.stdout).recentlyUsed[0]).toMatchObject({ length: 4097 });
  });
});
