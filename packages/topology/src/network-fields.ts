import { isGroup, parseInterface, parseIpv4, parseMac } from '@remio/ethernet';
import { z } from 'zod';

/** Longest name of a host's network interface, bytes (IFNAMSIZ less the end). */
const INTERFACE_NAME_MAX = 15;

/** A station's MAC address, as a number of 48 bits. */
export const mac = z
  .string()
  .refine((text) => parseMac(text).ok, { error: 'expected a MAC address, such as 52:54:00:00:00:01' })
  .transform((text) => {
    const parsed = parseMac(text);
    return parsed.ok ? parsed.value : 0;
  })
  .refine((value) => value !== 0 && !isGroup(value), {
    error: 'a device has an address of its own, not a group\u2019s',
  });

/** An IPv4 address, as a number of 32 bits. */
export const ipv4 = z
  .string()
  .refine((text) => parseIpv4(text).ok, { error: 'expected an IPv4 address, such as 10.0.0.2' })
  .transform((text) => {
    const parsed = parseIpv4(text);
    return parsed.ok ? parsed.value : 0;
  });

/** An IPv4 address with the length of its network's prefix. */
export const ipv4Interface = z
  .string()
  .refine((text) => parseInterface(text).ok, { error: 'expected an IPv4 address and prefix, such as 10.0.0.1/24' })
  .transform((text) => {
    const parsed = parseInterface(text);
    return parsed.ok ? parsed.value : { address: 0, prefix: 0 };
  });

/** Name of a network interface of the host. */
export const interfaceName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'expected the name of a network interface: letters, digits, ., - and _')
  .max(INTERFACE_NAME_MAX, `an interface\u2019s name has at most ${INTERFACE_NAME_MAX} characters`);
