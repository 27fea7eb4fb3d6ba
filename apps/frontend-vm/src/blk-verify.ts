import { createHash } from 'node:crypto';
import { Prng } from '@remio/base';
import { type GuestCpu, type GuestProgram, type GuestVm, ProgramError } from '@remio/guest';
import { type BlkTicket, diskBytes, patienceOf, VirtioBlkDriver } from '@remio/virtio-driver';
import { SECTOR_SIZE } from '@remio/virtio-spec';
import type { GuestBuffer } from '@remio/virtqueue';
import { type VcpuPool, Vcpus } from './vcpus.js';

interface BlkVerifyOptions {
  /** Bytes of one read of the whole disk. */
  readonly readSize?: number;
  /** Reads in flight, per queue. */
  readonly depth?: number;
  /** Random blocks to write and read back, over all queues. */
  readonly writes?: number;
  readonly writeSize?: number;
  readonly seed?: number;
  /** Nanoseconds in which the device may end no request until it is reset. */
  readonly timeout?: number;
}

/** What the workers share: one for each queue, on its vCPU. */
interface Job {
  readonly driver: VirtioBlkDriver;
  readonly workers: number;
  readonly options: Required<BlkVerifyOptions>;
  readonly bytes: number;
  readonly hash: InOrderHash;
  /** By phase: workers that have finished it. */
  readonly finished: number[];
  readonly cpus: readonly GuestCpu[];
  /** Bytes that were read back as they had been written. */
  verifiedBytes: number;
  mismatches: number;
  failed: number;
}

/**
 * Reads the whole disk through every queue and reports its SHA-256, then writes random blocks, flushes, and reads them back.
 * There are as many queues as the topology places, or else as the VM has vCPUs, one on each.
 * @param vcpus those of the VM, where somebody else uses them as well
 */
export const blkVerify =
  (given: BlkVerifyOptions, vcpus?: VcpuPool): GuestProgram =>
  async (boot, vm) => {
    const defaults = { readSize: 256 * 1024, depth: 4, writes: 256, writeSize: 4096, seed: 1, timeout: 30e9 };
    const options = { ...defaults, ...given };
    const patience = patienceOf(options.timeout);
    const all = vcpus ?? new Vcpus(boot);
    for (const end of vm.devices.filter((candidate) => candidate.type === 'frontend')) {
      const start = vm.hostTime();
      const placed = end.queueVcpus.length > 0 ? end.queueVcpus : Array.from({ length: vm.cpus }, (_, index) => index);
      const first = await all.get(end.vcpu ?? boot.index);
      const probed = await VirtioBlkDriver.probe(first, end, { cpus: placed.length, patience });
      if (!probed.ok) {
        const { code, clause, detail } = probed.error;
        throw new ProgramError(`device ${end.name}: ${code} (VirtIO ${clause}): ${detail}`);
      }
      const driver = probed.value;
      vm.report({ kind: 'driver-up', device: end.name });
      const used = placed.slice(0, driver.queues);
      const job: Job = {
        driver,
        workers: used.length,
        options,
        bytes: diskBytes(driver.capacity),
        hash: new InOrderHash(),
        finished: [0, 0, 0],
        cpus: await Promise.all(used.map((index) => all.get(index))),
        verifiedBytes: 0,
        mismatches: 0,
        failed: 0,
      };
      const up = vm.hostTime();
      const [read = up] = await Promise.all(job.cpus.map((cpu, index) => work(cpu, job, index, vm)));
      vm.report({
        kind: 'blk-verify',
        device: end.name,
        sha256: job.hash.digest(),
        bytes: job.bytes,
        vcpus: new Set(used).size,
        queueVcpus: used,
        probeNs: Number(up - start),
        readNs: Number(read - up),
        verifyNs: Number(vm.hostTime() - read),
        writes: driver.readOnly ? 0 : options.writes,
        verifiedBytes: job.verifiedBytes,
        mismatches: job.mismatches,
        failed: job.failed,
        counters: { ...driver.counters, accesses: driver.transport.accesses },
      });
      if (driver.broken !== undefined) {
        const { code, clause, detail } = driver.broken;
        throw new ProgramError(`device ${end.name}: ${code} (VirtIO ${clause}): ${detail}`);
      }
    }
  };

/** What each worker does; returns when the whole disk had been read. */
async function work(cpu: GuestCpu, job: Job, worker: number, vm: GuestVm): Promise<bigint> {
  const buffers = allocate(job, job.options.depth, job.options.readSize);
  await readAll(cpu, job, worker, buffers);
  await barrier(cpu, job, 0);
  const read = vm.hostTime();
  if (!job.driver.readOnly) await writeAndCheck(cpu, job, worker, buffers);
  await barrier(cpu, job, 1);
  return read;
}

function allocate(job: Job, count: number, bytes: number): readonly GuestBuffer[] {
  const buffers: GuestBuffer[] = [];
  for (let n = 0; n < count; n += 1) {
    const buffer = job.driver.allocate(bytes);
    if (buffer !== undefined) buffers.push(buffer);
  }
  if (buffers.length === 0) throw new ProgramError(`the shared memory has no room for a buffer of ${bytes} bytes`);
  return buffers;
}

/** Waits until every worker got here. */
async function barrier(cpu: GuestCpu, job: Job, phase: number): Promise<void> {
  job.finished[phase] = (job.finished[phase] ?? 0) + 1;
  if (job.finished[phase] === job.workers) {
    // Workers may share a vCPU, this one's too.
    for (const { index } of job.cpus) cpu.sendIpi(index);
    return;
  }
  while ((job.finished[phase] ?? 0) < job.workers) await cpu.waitForInterrupt();
}

interface Pending {
  readonly ticket: BlkTicket;
  readonly buffer: GuestBuffer;
  readonly chunk: number;
}

/** Reads this worker's share of the disk: every n-th chunk, several at a time. */
async function readAll(cpu: GuestCpu, job: Job, worker: number, buffers: readonly GuestBuffer[]): Promise<void> {
  const { readSize } = job.options;
  const chunks = Math.ceil(job.bytes / readSize);
  const free = [...buffers];
  let next = worker;
  let pending: Pending[] = [];
  while (next < chunks || pending.length > 0) {
    while (next < chunks && free.length > 0) {
      const buffer = free.pop();
      if (buffer === undefined) break;
      const position = next * readSize;
      const length = Math.min(readSize, job.bytes - position);
      const data = [{ address: buffer.address, length }];
      const sector = BigInt(position / SECTOR_SIZE);
      const [ticket] = await job.driver.submit(cpu, [{ kind: 'read', sector, data }], worker);
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

/** Writes random blocks of this worker's part of the disk, flushes, and reads them back. */
async function writeAndCheck(cpu: GuestCpu, job: Job, worker: number, buffers: readonly GuestBuffer[]): Promise<void> {
  const { writeSize, writes, seed } = job.options;
  const [buffer] = buffers;
  if (buffer === undefined || buffer.length < writeSize) return;
  const prng = new Prng(seed + worker);
  const blocks = Math.floor(job.bytes / writeSize / job.workers);
  const first = blocks * worker;
  const data = [{ address: buffer.address, length: writeSize }];
  const expected = new Map<number, Uint8Array>();
  const sector = (block: number): bigint => BigInt((block * writeSize) / SECTOR_SIZE);
  for (let n = 0; n < Math.ceil(writes / job.workers); n += 1) {
    const block = first + prng.below(Math.max(1, blocks));
    const content = new Uint8Array(writeSize);
    prng.fill(content);
    bytesOf(job, buffer, writeSize).set(content);
    const outcome = await job.driver.execute(cpu, { kind: 'write', sector: sector(block), data }, worker);
    if (outcome !== 'ok') job.failed += 1;
    expected.set(block, content);
  }
  if ((await job.driver.execute(cpu, { kind: 'flush' }, worker)) !== 'ok') job.failed += 1;
  for (const [block, content] of expected) {
    bytesOf(job, buffer, writeSize).fill(0);
    const outcome = await job.driver.execute(cpu, { kind: 'read', sector: sector(block), data }, worker);
    if (outcome !== 'ok') job.failed += 1;
    if (Buffer.compare(bytesOf(job, buffer, writeSize), content) === 0) job.verifiedBytes += writeSize;
    else job.mismatches += 1;
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
