import { err, ok, type Result } from '@remio/base';

/** An IPv4 address as a number of 32 bits, the first byte the highest. */
export type Ipv4 = number;

export const IPV4_BROADCAST: Ipv4 = 0xffff_ffff;

/** An address and the network that it is of. */
export interface Ipv4Interface {
  readonly address: Ipv4;
  /** Bits that the network's addresses have in common, 0 to 32. */
  readonly prefix: number;
}

const FORM = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

/** An address as people write it: `10.0.0.1`. */
export function parseIpv4(text: string): Result<Ipv4, string> {
  const bytes = FORM.exec(text)?.slice(1).map(Number);
  if (bytes?.every((byte) => byte <= 255) !== true) return err(`${text} is no IPv4 address`);
  return ok(bytes.reduce((address, byte) => address * 256 + byte, 0));
}

/** An address with its network: `10.0.0.1/24`. */
export function parseInterface(text: string): Result<Ipv4Interface, string> {
  const [first = '', bits = ''] = text.split('/');
  const address = parseIpv4(first);
  const prefix = Number(bits);
  if (!address.ok || !/^\d{1,2}$/.test(bits) || prefix > 32) {
    return err(`${text} is no IPv4 address with the length of its network's prefix, such as 10.0.0.1/24`);
  }
  return ok({ address: address.value, prefix });
}

export const formatIpv4 = (address: Ipv4): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.');

/** The address by which a network's frames are for all of it. */
export const broadcastOf = ({ address, prefix }: Ipv4Interface): Ipv4 => {
  const hosts = 2 ** (32 - prefix);
  return address - (address % hosts) + (hosts - 1);
};

/** Whether an address is of the network. */
export const onLink = ({ address, prefix }: Ipv4Interface, other: Ipv4): boolean => {
  const hosts = 2 ** (32 - prefix);
  return Math.floor(address / hosts) === Math.floor(other / hosts);
};
