import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { err, ok, type Result } from '@remio/base';
import { type CurveKeyPair, decodeKey, OBSERVER, publicKeyOf } from '@remio/protocol';
import { curveKeyPair } from 'zeromq';

/** Name of the file with the hypervisor's secret key. The suffix is that of ZeroMQ's certificates. */
export const HYPERVISOR_KEY_FILE = 'hypervisor.key_secret';
/** Name of the file with the hypervisor's public key, for whoever has no topology. */
export const HYPERVISOR_PUBLIC_FILE = 'hypervisor.key';

/** Name of the file with a peer's secret key: a VM's, or that of observers. */
export const peerKeyFile = (name: string): string =>
  name === OBSERVER ? 'observer.key_secret' : `vm-${name}.key_secret`;

/** Mode of files with secret keys. */
export const KEY_FILE_MODE = 0o600;

/** A new key pair, from libsodium's or the system's random numbers. */
export const makeKeyPair: () => CurveKeyPair = curveKeyPair;

/** Bytes of a certificate: more is something else. */
const FILE_BYTES_MAX = 4096;

/** A certificate in the format of ZeroMQ's (ZPL, ZeroMQ RFC 4), which czmq and pyzmq read as well. */
export const renderKeyFile = ({
  publicKey,
  secretKey,
}: Pick<CurveKeyPair, 'publicKey'> & Partial<CurveKeyPair>): string =>
  [
    secretKey === undefined
      ? '# ZeroMQ CURVE certificate, the public key alone.'
      : '# ZeroMQ CURVE certificate with the secret key: nobody but its owner may read it.',
    'metadata',
    'curve',
    `    public-key = "${publicKey}"`,
    ...(secretKey === undefined ? [] : [`    secret-key = "${secretKey}"`]),
    '',
  ].join('\n');

const fieldOf = (text: string, name: string): string | undefined =>
  new RegExp(`^[ \\t]+${name}[ \\t]*=[ \\t]*"([^"\\n]*)"[ \\t\\r]*$`, 'm').exec(text)?.[1];

/** The public key of a certificate. */
export function parsePublicKey(text: string): Result<string, string> {
  const publicKey = fieldOf(text, 'public-key');
  if (publicKey === undefined || decodeKey(publicKey) === undefined) {
    return err('it has no public-key; expected a ZeroMQ certificate, as `remio keys` writes it');
  }
  return ok(publicKey);
}

/** The key pair of a certificate. */
export function parseKeyFile(text: string): Result<CurveKeyPair, string> {
  const publicKey = parsePublicKey(text);
  if (!publicKey.ok) return publicKey;
  const secretKey = fieldOf(text, 'secret-key');
  if (secretKey === undefined || decodeKey(secretKey) === undefined) {
    return err('it has no secret-key; expected a ZeroMQ certificate, as `remio keys` writes it');
  }
  if (publicKeyOf(secretKey) !== publicKey.value) return err('its public key does not belong to its secret key');
  return ok({ publicKey: publicKey.value, secretKey });
}

/** Who reads a file, and whose it is. */
interface Ownership {
  readonly uid: number;
  readonly mode: number;
}

/**
 * What is wrong with who else may read a secret. The rule is PostgreSQL's: a file of root's may be a group's to read, as
 * Kubernetes gives secrets. Root may use what is anybody's alone.
 * @param reader user id of this process
 */
export function permissionProblem({ uid, mode }: Ownership, reader: number): string | undefined {
  const shown = `0${(mode & 0o777).toString(8).padStart(3, '0')}`;
  if (uid === reader || reader === 0) {
    return (mode & 0o077) === 0 ? undefined : `it has mode ${shown}; nobody but its owner may have access: chmod 600`;
  }
  if (uid !== 0) return `it is user ${uid}\u2019s, and this process runs as user ${reader}: chown ${reader}`;
  return (mode & 0o027) === 0
    ? undefined
    : `it is root\u2019s and has mode ${shown}; only a group may have access: chmod 640`;
}

/** Reads a file with a secret key; refuses one that others could have read. */
export function readKeyFile(path: string): Result<CurveKeyPair, string> {
  const read = readCertificate(path, (stat) => permissionProblem(stat, process.getuid?.() ?? 0));
  if (!read.ok) return read;
  const parsed = parseKeyFile(read.value);
  return parsed.ok ? parsed : err(`key file ${path}: ${parsed.error}`);
}

/** Reads a file with a public key. */
export function readPublicKey(path: string): Result<string, string> {
  const read = readCertificate(path, () => undefined);
  if (!read.ok) return read;
  const parsed = parsePublicKey(read.value);
  return parsed.ok ? parsed : err(`key file ${path}: ${parsed.error}`);
}

function readCertificate(path: string, problemOf: (stat: Ownership) => string | undefined): Result<string, string> {
  let file: number | undefined;
  try {
    // Without waiting: a FIFO would, for a writer.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(file);
    if (!stat.isFile() || stat.size > FILE_BYTES_MAX) return err(`key file ${path}: it is no ZeroMQ certificate`);
    const problem = problemOf(stat);
    return problem === undefined ? ok(readFileSync(file, 'utf8')) : err(`key file ${path}: ${problem}`);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      return err(`there is no key file ${path}; \`remio keys\` makes such files`);
    }
    const reason = error instanceof Error ? error.message : String(error);
    return err(`key file ${path} cannot be read: ${reason}`);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
