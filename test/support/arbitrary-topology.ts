import { boardNames, isSynthetic, loadBoard } from '@remio/board';
import fc from 'fast-check';

/** YAML of a value: JSON with integers of any size. */
const yaml = (value: unknown): string =>
  typeof value === 'bigint'
    ? `0x${value.toString(16)}`
    : Array.isArray(value)
      ? `[${value.map(yaml).join(', ')}]`
      : typeof value === 'object' && value !== null
        ? `{ ${Object.entries(value)
            .filter(([, inner]) => inner !== undefined)
            .map(([name, inner]) => `${name}: ${yaml(inner)}`)
            .join(', ')} }`
        : JSON.stringify(value);

const PAGE = 4096n;

const device = fc.oneof(
  fc.record({
    type: fc.constant('block'),
    image: fc.constantFrom('disk.img', '/abs/d.img', '../up.img'),
    queues: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({ type: fc.constant('entropy') }),
  fc.record({
    type: fc.constant('fs'),
    tag: fc.constantFrom('share', 'a b'),
    directory: fc.constantFrom('share', './x'),
  }),
  fc.record({ type: fc.constant('net'), tap: fc.constant('tap'), mac: fc.constant('52:54:00:00:00:01') }),
  fc.record({ module: fc.constant('./device.js'), options: fc.record({ image: fc.string(), n: fc.integer() }) }),
);

const vmName = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,8}$/);

const link = fc.record({
  backend: fc.nat(),
  frontend: fc.nat(),
  key: fc.oneof(fc.bigInt({ min: 0n, max: 255n }), fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })),
  pages: fc.bigInt({ min: 1n, max: 64n }),
  placed: fc.boolean(),
  window: fc.constantFrom(0x200n, 0x1000n),
  deadline: fc.constantFrom(undefined, '500us', '30s'),
  ring: fc.constantFrom(undefined, { packed: false }, { event_idx: false, in_order: true }),
  name: fc.boolean(),
  device,
});

/** What a topology is made of; small numbers, of which a valid file is made below. */
const parts = fc.record({
  board: fc.nat(),
  plic: fc.boolean(),
  profile: fc.constantFrom(undefined, 'hardened'),
  title: fc.constantFrom(undefined, 'plain', 'a: "quoted" */ one', '#'),
  vms: fc.uniqueArray(
    fc.record({
      name: vmName,
      cpus: fc.integer({ min: 1, max: 3 }),
      list: fc.boolean(),
      regions: fc.integer({ min: 0, max: 3 }),
      placed: fc.boolean(),
    }),
    {
      selector: ({ name }) => name,
      minLength: 2,
      maxLength: 5,
    },
  ),
  channels: fc.array(
    fc.record({
      users: fc.uniqueArray(fc.nat({ max: 4 }), { minLength: 1, maxLength: 3 }),
      pages: fc.bigInt({ min: 1n, max: 8n }),
      part: fc.boolean(),
      events: fc.nat({ max: 3 }),
    }),
    { maxLength: 3 },
  ),
  links: fc.uniqueArray(link, { selector: ({ key }) => key, maxLength: 8 }),
});

/**
 * The text of a topology that passes every check, with all that Bao's configuration says and much that it does not.
 * Backend ends come first in a VM, as Linux's dispatcher wants them.
 */
export const topologyText: fc.Arbitrary<string> = parts.map((given) => {
  const wanted = given.vms.reduce((sum, { cpus }) => sum + cpus, 0);
  const boards = boardNames.flatMap((name) => {
    const board = loadBoard({ name });
    return board.ok && (board.value.cpus.length >= wanted || isSynthetic(name)) ? [board.value] : [];
  });
  const board = boards[given.board % boards.length];
  if (board === undefined) throw new Error('no board');
  const choice = {
    name: board.name,
    ...(isSynthetic(board.name) ? { cpus: wanted + 3 } : {}),
    ...(given.plic && loadBoard({ name: board.name, irqc: 'plic' }).ok ? { irqc: 'plic' } : {}),
  };
  const ram = board.ram.reduce((most, range) => (range.size > most.size ? range : most));
  let phys = (ram.base + 2n * PAGE - 1n) & ~(PAGE - 1n);
  const place = (size: bigint): bigint => {
    const at = phys;
    phys += size;
    return at;
  };
  let nextCpu = 0;
  const vms = given.vms.map(({ name, cpus, list, regions, placed }) => {
    const mine = Array.from({ length: cpus }, (_, n) => nextCpu + n);
    nextCpu += cpus;
    const memory = Array.from({ length: regions }, (_, n) => {
      const size = PAGE * BigInt(n + 1);
      return { base: 0x1000_0000n + BigInt(n) * 0x10_0000n, size, ...(placed ? { phys: place(size) } : {}) };
    });
    return {
      name,
      cpus: list ? mine : cpus,
      memory,
      backends: [] as object[],
      frontends: [] as object[],
      ipcs: [] as object[],
    };
  });
  const memories: Record<string, object> = {};
  given.links.forEach((item, n) => {
    const backend = vms[item.backend % vms.length];
    const others = vms.filter((vm) => vm !== backend);
    const frontend = others[item.frontend % others.length];
    if (backend === undefined || frontend === undefined) return;
    // Room for the virtqueues of any of the devices.
    const size = (item.pages + 128n) * PAGE;
    memories[`m${n}`] = { size, ...(item.placed ? { phys: place(size) } : {}) };
    const shmem = { memory: `m${n}`, base: 0xd000_0000n + BigInt(n) * 0x10_0000n };
    const common = { ...(item.name ? { name: `dev${n}` } : {}), bind_key: item.key, shmem, ring: item.ring };
    backend.backends.push({
      ...common,
      type: 'backend',
      interrupt: 40 + n,
      device: 'tap' in item.device ? { ...item.device, tap: `tap${n}` } : item.device,
    });
    frontend.frontends.push({
      ...common,
      type: 'frontend',
      interrupt: 60 + n,
      // From high to low: the reference mis-routes a window that another one ends at.
      window: { base: 0xa10_0000n - BigInt(n) * 0x1000n, ...(item.window === 0x200n ? {} : { size: item.window }) },
      deadline: item.deadline,
      driver: { type: 'probe' },
    });
  });
  given.channels.forEach(({ users, pages, part, events }, n) => {
    memories[`c${n}`] = { size: pages * PAGE };
    for (const vm of new Set(users.map((user) => vms[user % vms.length]))) {
      vm?.ipcs.push({
        memory: `c${n}`,
        base: 0xe000_0000n + BigInt(n) * 0x10_0000n,
        ...(part ? { size: PAGE } : {}),
        interrupts: Array.from({ length: events }, (_, event) => 80 + n * 4 + event),
        driver: { type: 'exchange', side: 'first', size: 16n },
      });
    }
  });
  return yaml({
    name: given.title,
    board: choice,
    profile: given.profile,
    shared_memories: memories,
    // The lists first: numbers take what is free.
    vms: Object.fromEntries(
      vms.map(({ name, cpus, memory, backends, frontends, ipcs }) => [
        name,
        { cpus, memory, remio_devs: [...backends, ...frontends], ipcs },
      ]),
    ),
  });
});
