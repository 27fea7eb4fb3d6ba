// What ZeroMQ alone costs: four messages through a chain of three processes, and none of our code. The sockets have the
// options that ours have where they cost or save something: a send that would wait is refused instead.
//   node floor.js back|hub|front ENDPOINT BYTES COUNT
import { Dealer, Router } from 'zeromq';

const [, , role = '', endpoint = '', size = '64', count = '0'] = process.argv;
const BYTES = Number(size);

async function hub(): Promise<void> {
  const router = new Router({ mandatory: true, sendTimeout: 0 });
  await router.bind(endpoint);
  process.send?.('ready');
  const routes = new Map<string, Buffer>();
  for (;;) {
    const [route, bytes] = await router.receive();
    if (route === undefined || bytes === undefined) continue;
    if (bytes.length !== BYTES) {
      routes.set(bytes.toString(), route);
      await router.send([route, 'welcome']);
      continue;
    }
    const to = routes.get(bytes[0] === 0 ? 'back' : 'front');
    if (to !== undefined) await router.send([to, bytes]);
  }
}

async function back(): Promise<void> {
  const dealer = new Dealer();
  dealer.connect(endpoint);
  await dealer.send('back');
  await dealer.receive();
  dealer.sendTimeout = 0;
  process.send?.('ready');
  for (;;) {
    const [bytes] = await dealer.receive();
    if (bytes === undefined) continue;
    bytes[0] = 1;
    await dealer.send(bytes);
  }
}

async function front(): Promise<void> {
  const dealer = new Dealer();
  dealer.connect(endpoint);
  await dealer.send('front');
  await dealer.receive();
  dealer.sendTimeout = 0;
  const total = Number(count);
  const warmUp = Math.ceil(total / 10);
  const times: number[] = [];
  let started = process.hrtime.bigint();
  for (let n = 0; n < total + warmUp; n += 1) {
    const start = process.hrtime.bigint();
    if (n === warmUp) started = start;
    await dealer.send(Buffer.alloc(BYTES));
    await dealer.receive();
    if (n >= warmUp) times.push(Number(process.hrtime.bigint() - start));
  }
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  times.sort((a, b) => a - b);
  const at = (share: number): number => times[Math.floor(total * share)] ?? 0;
  process.send?.({ p50: at(0.5), p99: at(0.99), perSecond: total / seconds });
  process.disconnect?.();
}

process.on('disconnect', () => process.exit(0));
const roles: Readonly<Record<string, () => Promise<void>>> = { hub, back, front };
await roles[role]?.();
process.exit(0);
