import { z } from 'zod';
import { count, duration, from, present } from '../fields.js';
import { interfaceName, ipv4, ipv4Interface } from '../network-fields.js';

/** Most bytes of data that fit in a ping or datagram of the Ethernet MTU. */
const DATA_MAX = 65_507;
const PORT_MAX = 65_535;

export const tapSchema = z.strictObject({
  type: z.literal('tap'),
  name: interfaceName.describe('Name of the host\u2019s TAP interface'),
});

/** What the driver is given that joins a network device with a TAP interface. */
export interface TapDriverOptions {
  readonly name: string;
}

export const netstackSchema = z.strictObject({
  type: z.literal('netstack'),
  ip: ipv4Interface.describe('Address and prefix of the station, such as 10.0.0.1/24'),
  ping: z
    .strictObject({
      to: ipv4,
      count: from(1, 65_536).optional().describe('Pings; 10 unless it says otherwise'),
      rounds: count
        .optional()
        .describe('How often so many are sent, each time with a report; 1 unless it says otherwise'),
      interval: duration.optional().describe('10ms unless it says otherwise'),
      timeout: duration.optional().describe('How long the last ones are waited for; 1s unless it says otherwise'),
      size: from(0, DATA_MAX).optional().describe('Bytes of data; 56 unless it says otherwise'),
    })
    .optional()
    .describe('Asks a station for echoes, and reports loss and round trips'),
  udp: z
    .strictObject({
      to: ipv4,
      port: from(1, PORT_MAX),
      count: count.optional().describe('Datagrams; 1000 unless it says otherwise'),
      size: from(0, DATA_MAX).optional().describe('Bytes of data; 1024 unless it says otherwise'),
    })
    .optional()
    .describe('Sends datagrams to a station as fast as they go, and reports how fast'),
  echo: from(1, PORT_MAX).optional().describe('UDP port at which datagrams are sent back; 7 unless it says otherwise'),
  linger: duration
    .optional()
    .describe(
      'How long the station stays after its work, and after the last frame for it; 1s unless it says otherwise',
    ),
});

/** What the driver is given that is a station of its own. */
export interface NetstackOptions {
  readonly address: number;
  readonly prefix: number;
  /** Times are nanoseconds. */
  readonly ping?: {
    readonly to: number;
    readonly count: number;
    readonly rounds: number;
    readonly interval: number;
    readonly timeout: number;
    readonly size: number;
  };
  readonly udp?: { readonly to: number; readonly port: number; readonly count: number; readonly size: number };
  readonly echoPort: number;
  readonly linger: number;
}

const MILLISECOND = 1_000_000n;

export function netstackOptions(driver: z.output<typeof netstackSchema>): NetstackOptions {
  const { ip, ping, udp } = driver;
  return {
    ...ip,
    echoPort: driver.echo ?? 7,
    linger: Number(driver.linger ?? 1000n * MILLISECOND),
    ...present({
      ping:
        ping === undefined
          ? undefined
          : {
              to: ping.to,
              count: ping.count ?? 10,
              rounds: ping.rounds ?? 1,
              interval: Number(ping.interval ?? 10n * MILLISECOND),
              timeout: Number(ping.timeout ?? 1000n * MILLISECOND),
              size: ping.size ?? 56,
            },
      udp:
        udp === undefined
          ? undefined
          : { to: udp.to, port: udp.port, count: udp.count ?? 1000, size: udp.size ?? 1024 },
    }),
  };
}
