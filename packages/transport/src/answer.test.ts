import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { assert, cpuId, irqId, requestId, vmId } from '@remio/base';
import type { VmRecord } from '@remio/protocol';
import { afterAll, describe, expect, it } from 'vitest';
import { Connection, Listener, type Peer } from './index.js';

const directory = mkdtempSync(join(tmpdir(), 'remio-answer-'));
afterAll(() => rmSync(directory, { recursive: true }));

const asked = (n: number): VmRecord => ({ kind: 'asked', vm: vmId(0), cpu: cpuId(0), id: requestId(BigInt(n)) });

let scenes = 0;

/**
 * What a peer does with a frame of one interrupt: sends a record at once and another one so many microtasks later.
 * @param goesOn what it says in between of whether more is to come
 * @returns what arrived, frame by frame, and whether the first frame had left before any microtask ran
 */
async function answered(
  microtasks: number,
  goesOn: ((done: boolean) => boolean) | undefined,
): Promise<{ readonly frames: readonly (readonly number[])[]; readonly atOnce: boolean }> {
  scenes += 1;
  const endpoint = `ipc://${join(directory, String(scenes))}`;
  const frames: (readonly number[])[] = [];
  let peer: Peer | undefined;
  let arrived = (): void => {};
  const all = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const listener = await Listener.bind(endpoint, 'digest', {
    admit: () => undefined,
    choose: () => ({ code: 'none-free', reason: 'there is one' }),
    onAttached: (attached) => {
      peer = attached;
    },
    onRecords: (_, records) => {
      frames.push(records.map((record) => (record.kind === 'asked' ? Number(record.id) : -1)));
      if (frames.flat().length === 2) arrived();
    },
    onReport: () => {},
    onQuery: () => undefined,
    onLost: () => {},
    onRefused: () => {},
  });
  let done = false;
  let sent = false;
  let atOnce = false;
  const attached = await Connection.attach(endpoint, 'digest', ['vm'], {
    onRecords: async () => {
      connection.send(asked(1));
      for (let n = 0; n < microtasks; n += 1) {
        await undefined;
        if (n === 0) atOnce = sent;
      }
      connection.send(asked(2));
      done = true;
      connection.flushSoon();
    },
    onSent: () => {
      sent = true;
    },
    onLost: () => {},
    ...(goesOn === undefined ? {} : { goesOn: () => goesOn(done) }),
  });
  assert(attached.ok, 'the hypervisor takes its peer');
  const connection = attached.value;
  assert(peer !== undefined, 'who is welcome is attached');
  listener.send(peer.session, { kind: 'irq', vm: vmId(0), cpu: cpuId(0), irq: irqId(40) });
  listener.flush();
  await all;
  connection.close();
  listener.close();
  return { frames, atOnce };
}

describe('the answer to a frame', () => {
  it('leaves before anything else happens, where nothing goes on', async () => {
    expect(await answered(3, () => false)).toEqual({ frames: [[1], [2]], atOnce: true });
  });

  it('has what programs send that go on, as long as they are known to', async () => {
    expect(await answered(5, (done) => !done)).toEqual({ frames: [[1, 2]], atOnce: false });
  });

  it('has all that is sent before no microtask is left, of programs that go on for longer than is looked', async () => {
    expect(await answered(100, (done) => !done)).toEqual({ frames: [[1, 2]], atOnce: false });
  });

  it('leaves though something goes on for ever, or nobody knows', async () => {
    const together = { frames: [[1, 2]], atOnce: false };
    expect(await answered(100, () => true)).toEqual(together);
    expect(await answered(100, undefined)).toEqual(together);
  });
});
