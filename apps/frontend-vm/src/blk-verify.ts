import { createHash } from 'node:crypto';
import { Prng } from '@remio/base';
import type { GuestCpu, GuestProgram, GuestVm } from '@remio/guest';
import { type BlkTicket, diskBytes, VirtioBlkDriver } from '@remio/virtio-driver';
import { SECTOR_SIZE } from '@remio/virtio-spec';
import type { GuestBuffer } from '@remio/virtqueue';

interface BlkVerifyOptions {
  /** Bytes of one read of the whole disk. */
  readonly readSize?: number;
  /** Reads in flight, per vCPU. */
  readonly depth?: number;
  /** Random blocks to write and read back, over all vCPUs. */
  readonly writes?: number;
  readonly writeSize?: number;
  readonly seed?: number;
}

/** What the vCPUs share while they work on a disk. */
interface Job {
  readonly driver: VirtioBlkDriver;
  readonly workers: number;
  readonly options: Required<BlkVerifyOptions>;
  readonly bytes: number;
  readonly hash: InOrderHash;
  /** By phase: vCPUs that have finished it. */
  readonly finished: number[];
  readonly cpus: GuestCpu[];
  mismatches: number;
  failed: number;
}

/**
 * Reads the whole disk with every vCPU and reports its SHA-256, then writes random blocks, flushes, and reads them back.
 */
export const blkVerify =
  (given: BlkVerifyOptions): GuestProgram =>
  async (boot, vm) => {
    const options = { readSize: 256 * 1024, depth: 4, writes: 256, writeSize: 4096, seed: 1, ...given };
    for (const end of vm.devices.filter((candidate) => candidate.type === 'frontend')) {
      const start = vm.hostTime();
      const probed = await VirtioBlkDriver.probe(boot, end, { cpus: vm.cpus });
      if (!probed.ok) {
        const { code, clause, detail } = probed.error;
        throw new Error(`device ${end.name}: ${code} (VirtIO ${clause}): ${detail}`);
      }
      const driver = probed.value;
      const job: Job = {
        driver,
        workers: Math.min(vm.cpus, driver.queues),
        options,
        bytes: diskBytes(driver.capacity),
        hash: new InOrderHash(),
        finished: [0, 0, 0],
        cpus: [],
        mismatches: 0,
        failed: 0,
      };
      const up = vm.hostTime();
      for (let index = 1; index < job.workers; index += 1) {
        const code = await boot.startCpu(index, async (cpu) => {
          await work(cpu, job);
        });
        if (code !== 0n) throw new Error(`vCPU ${index} cannot be started: ${code}`);
      }
      const read = await work(boot, job, vm);
      vm.report({
        kind: 'blk-verify',
        device: end.name,
        sha256: job.hash.digest(),
        bytes: job.bytes,
        vcpus: job.workers,
        probeNs: Number(up - start),
        readNs: Number(read - up),
        verifyNs: Number(vm.hostTime() - read),
        writes: driver.readOnly ? 0 : options.writes,
        mismatches: job.mismatches,
        failed: job.failed,
        counters: { ...driver.counters, accesses: driver.transport.accesses },
      });
      if (driver.broken !== undefined) {
        const { code, clause, detail } = driver.broken;
        throw new Error(`device ${end.name}: ${code} (VirtIO ${clause}): ${detail}`);
      }
    }
  };

/** What each vCPU does; returns when the whole disk had been read. */
async function work(cpu: GuestCpu, job: Job, vm?: GuestVm): Promise<bigint> {
  cpu.onInterrupt(cpu.ipiIrq, () => {});
  job.cpus[cpu.index] = cpu;
  const buffers = allocate(job, job.options.depth, job.options.readSize);
  await readAll(cpu, job, buffers);
  await barrier(cpu, job, 0);
  const read = vm?.hostTime() ?? 0n;
  if (!job.driver.readOnly) await writeAndCheck(cpu, job, buffers);
  await barrier(cpu, job, 1);
  return read;
}

function allocate(job: Job, count: number, bytes: number): readonly GuestBuffer[] {
  const buffers: GuestBuffer[] = [];
  for (let n = 0; n < count; n += 1) {
    const buffer = job.driver.allocate(bytes);
    if (buffer !== undefined) buffers.push(buffer);
  }
  if (buffers.length === 0) throw new Error(`the shared memory has no room for a buffer of ${bytes} bytes`);
  return buffers;
}

/** Waits until every vCPU got here. */
async function barrier(cpu: GuestCpu, job: Job, phase: number): Promise<void> {
  job.finished[phase] = (job.finished[phase] ?? 0) + 1;
  if (job.finished[phase] === job.workers) {
    for (const other of job.cpus) if (other !== cpu) cpu.sendIpi(other.index);
    return;
  }
  while ((job.finished[phase] ?? 0) < job.workers) await cpu.waitForInterrupt();
}

interface Pending {
  readonly ticket: BlkTicket;
  readonly buffer: GuestBuffer;
  readonly chunk: number;
}

/** Reads this vCPU's share of the disk: every n-th chunk, several at a time. */
async function readAll(cpu: GuestCpu, job: Job, buffers: readonly GuestBuffer[]): Promise<void> {
  const { readSize } = job.options;
  const chunks = Math.ceil(job.bytes / readSize);
  const free = [...buffers];
  let next = cpu.index;
  let pending: Pending[] = [];
  while (next < chunks || pending.length > 0) {
    while (next < chunks && free.length > 0) {
      const buffer = free.pop();
      if (buffer === undefined) break;
      const position = next * readSize;
      const length = Math.min(readSize, job.bytes - position);
      const data = [{ address: buffer.address, length }];
      const sector = BigInt(position / SECTOR_SIZE);
      const [ticket] = await job.driver.submit(cpu, [{ kind: 'read', sector, data }]);
      if (ticket === undefined) {
        free.push(buffer);
        break;
      }
      pending.push({ ticket, buffer, chunk: next });
      next += job.workers;
    }
    if (!pending.some(({ ticket }) => ticket.outcome !== undefined)) await cpu.waitForInterrupt();
    pending = pending.filter(({ ticket, buffer, chunk }) => {
      if (ticket.outcome === undefined) return true;
      if (ticket.outcome !== 'ok') job.failed += 1;
      const length = Math.min(readSize, job.bytes - chunk * readSize);
      job.hash.add(chunk, bytesOf(job, buffer, length));
      free.push(buffer);
      return false;
    });
  }
}

const bytesOf = (job: Job, buffer: GuestBuffer, length: number): Uint8Array => {
  const { memory } = job.driver.allocator;
  return memory.bytes(memory.locate(buffer.address, length), length);
};

/** Writes random blocks of this vCPU's part of the disk, flushes, and reads them back. */
async function writeAndCheck(cpu: GuestCpu, job: Job, buffers: readonly GuestBuffer[]): Promise<void> {
  const { writeSize, writes, seed } = job.options;
  const [buffer] = buffers;
  if (buffer === undefined || buffer.length < writeSize) return;
  const prng = new Prng(seed + cpu.index);
  const blocks = Math.floor(job.bytes / writeSize / job.workers);
  const first = blocks * cpu.index;
  const data = [{ address: buffer.address, length: writeSize }];
  const expected = new Map<number, Uint8Array>();
  const sector = (block: number): bigint => BigInt((block * writeSize) / SECTOR_SIZE);
  for (let n = 0; n < Math.ceil(writes / job.workers); n += 1) {
    const block = first + prng.below(Math.max(1, blocks));
    const content = new Uint8Array(writeSize);
    prng.fill(content);
    bytesOf(job, buffer, writeSize).set(content);
    const outcome = await job.driver.execute(cpu, { kind: 'write', sector: sector(block), data });
    if (outcome !== 'ok') job.failed += 1;
    expected.set(block, content);
  }
  if ((await job.driver.execute(cpu, { kind: 'flush' })) !== 'ok') job.failed += 1;
  for (const [block, content] of expected) {
    bytesOf(job, buffer, writeSize).fill(0);
    const outcome = await job.driver.execute(cpu, { kind: 'read', sector: sector(block), data });
    if (outcome !== 'ok') job.failed += 1;
    if (Buffer.compare(bytesOf(job, buffer, writeSize), content) !== 0) job.mismatches += 1;
  }
}

/** SHA-256 of chunks that arrive out of order; those that are early are kept until it is their turn. */
class InOrderHash {
  readonly #hash = createHash('sha256');
  readonly #early = new Map<number, Uint8Array>();
  #next = 0;

  add(chunk: number, bytes: Uint8Array): void {
    if (chunk !== this.#next) {
      this.#early.set(chunk, bytes.slice());
      return;
    }
    this.#hash.update(bytes);
    this.#next += 1;
    for (let early = this.#early.get(this.#next); early !== undefined; early = this.#early.get(this.#next)) {
      this.#early.delete(this.#next);
      this.#hash.update(early);
      this.#next += 1;
    }
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}
