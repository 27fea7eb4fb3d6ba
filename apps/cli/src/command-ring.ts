import { guestAddress } from '@remio/base';
import { LocalMemory } from '@remio/guest-memory';
import { observerKeys } from '@remio/hypervisor';
import { mapRegion } from '@remio/shared-memory';
import { Connection } from '@remio/transport';
import { type DecodedEvent, type DecodedQueue, decodeQueue } from '@remio/virtqueue';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';

/** What a backend reports of a device's queues when its driver has made them ready. */
interface QueuesReport {
  readonly device: string;
  readonly shmem: { readonly id: number; readonly base: string };
  readonly packed: boolean;
  readonly queues: readonly ({
    readonly size: number;
    readonly descriptorArea: string;
    readonly driverArea: string;
    readonly deviceArea: string;
  } | null)[];
}

export interface RingOptions {
  readonly endpoint: string;
  readonly keys?: string;
  readonly json: boolean;
}

/** `remio ring`: a virtqueue of a running platform, as it stands in shared memory. */
export async function ring(vm: string, device: string, queue: number, options: RingOptions): Promise<ExitCode> {
  const keys = options.keys === undefined ? undefined : observerKeys(options.keys);
  if (keys?.ok === false) throw new CommandError(keys.error, EXIT.USAGE);
  const handler = { onRecords: () => {}, onLost: () => {} };
  const attached = await Connection.attach(options.endpoint, '', [], handler, keys?.value);
  if (!attached.ok) throw new CommandError(attached.error.reason, EXIT.ENVIRONMENT);
  const connection = attached.value;
  try {
    const ask = async (what: string, argument: unknown): Promise<unknown> => {
      const answer = await connection.query(what, argument);
      if (!answer.ok) throw new CommandError(answer.error, EXIT.ENVIRONMENT);
      return answer.value;
    };
    const reports = (await ask('reports', null)) as Readonly<Record<string, Readonly<Record<string, unknown>>>>;
    const status = (await ask('status', null)) as {
      readonly vms: readonly { readonly name: string; readonly devices: readonly { readonly name: string }[] }[];
    };
    const owner = status.vms.find((candidate) => candidate.name === vm);
    if (!owner?.devices.some((candidate) => candidate.name === device)) {
      const known = status.vms.map((v) => `${v.name}: ${v.devices.map((d) => d.name).join(', ')}`).join('; ');
      throw new CommandError(`VM ${vm} has no device ${device}; there is ${known}`, EXIT.USAGE);
    }
    const found = Object.values(reports).flatMap(
      (kinds) => (kinds[`queues:${device}`] as QueuesReport | undefined) ?? [],
    );
    const [report] = found;
    const config = report?.queues[queue];
    if (report === undefined || config === null || config === undefined) {
      throw new CommandError(`queue ${queue} of ${device} is not ready: its driver has not set it up`, EXIT.FAILED);
    }
    const memory = (await ask('shared-memory', { id: report.shmem.id })) as {
      readonly path: string;
      readonly size: number;
    } | null;
    if (memory === null) throw new CommandError('the platform shares no memory with this host', EXIT.ENVIRONMENT);
    const mapped = mapRegion(memory.path, memory.size);
    if (!mapped.ok) throw new CommandError(mapped.error, EXIT.ENVIRONMENT);
    const areas = {
      size: config.size,
      descriptorArea: BigInt(config.descriptorArea),
      driverArea: BigInt(config.driverArea),
      deviceArea: BigInt(config.deviceArea),
    };
    const shared = new LocalMemory(guestAddress(BigInt(report.shmem.base)), mapped.value);
    const decoded = decodeQueue(shared, areas, report.packed);
    if (decoded === undefined) throw new CommandError('the queue lies outside the shared memory', EXIT.FAILED);
    if (options.json) {
      console.log(JSON.stringify(decoded));
      return EXIT.OK;
    }
    console.log(
      `${vm} ${device} queue ${queue}: ${decoded.size} descriptors at ${config.descriptorArea}, ${decoded.layout}`,
    );
    for (const line of linesOf(decoded)) console.log(`  ${line}`);
    return EXIT.OK;
  } finally {
    connection.close();
  }
}

function linesOf(decoded: DecodedQueue): readonly string[] {
  const used = decoded.recentlyUsed.map(({ id, length }) => `${id} (${length})`).join(', ') || 'none';
  const chains = decoded.inFlight.flatMap((each) => [
    'head' in each ? `  head ${each.head}:` : `  id ${each.id}:`,
    ...each.chain.map(({ index, address, length, flags }) => `    [${index}] ${address} +${length} ${flags.join('|')}`),
  ]);
  return [...wishes(decoded), `in flight: ${decoded.inFlight.length}`, ...chains, `used last: ${used}`];
}

function wishes(decoded: DecodedQueue): readonly string[] {
  if (decoded.layout === 'split') {
    const { avail, used } = decoded;
    return [
      `avail: idx ${avail.idx} flags ${avail.flags} used_event ${avail.usedEvent}`,
      `used:  idx ${used.idx} flags ${used.flags} avail_event ${used.availEvent}`,
    ];
  }
  const event = ({ flags, offset, wrap }: DecodedEvent): string => `${flags} offset ${offset} wrap ${wrap}`;
  return [
    `next:         offset ${decoded.next.offset} wrap ${decoded.next.wrap}`,
    `driver event: ${event(decoded.driverEvent)}`,
    `device event: ${event(decoded.deviceEvent)}`,
  ];
}
