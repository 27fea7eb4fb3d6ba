import { TRANSIENT_BYTES_MAX } from '@remio/protocol';
import { expect, it } from 'vitest';
import { Dealer, Router } from 'zeromq';
import { FrameSocket } from './frame-socket.js';

it('copies a short frame before send returns: the codec overwrites it with the next one', async () => {
  const router = new Router({ linger: 0 });
  await router.bind('inproc://frame-socket-copies');
  const dealer = new Dealer({ linger: 0, sendTimeout: 0 });
  dealer.connect('inproc://frame-socket-copies');
  const socket = new FrameSocket<Dealer, Buffer>(dealer, () => {});
  const frame = Buffer.alloc(TRANSIENT_BYTES_MAX, 1);
  socket.send(frame, () => expect.unreachable('the socket is connected'));
  frame.fill(2);
  const [, bytes] = await router.receive();
  expect(bytes).toEqual(Buffer.alloc(TRANSIENT_BYTES_MAX, 1));
  socket.close();
  router.close();
});

it('says at once which frame cannot be delivered', async () => {
  const router = new Router({ mandatory: true, sendTimeout: 0, linger: 0 });
  const socket = new FrameSocket<Router, [string, string]>(router, () => {});
  const refused: string[] = [];
  socket.send(['nobody', 'first'], () => refused.push('first'));
  socket.send(['nobody', 'second'], () => refused.push('second'));
  await Promise.resolve();
  expect(refused).toEqual(['first', 'second']);
  socket.close();
});
