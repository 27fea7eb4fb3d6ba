/** Addresses that only programs of this host reach. */
const LOOPBACK = /^(127(\.\d{1,3}){3}|localhost|\[?::1\]?)$/i;

/**
 * Why an endpoint is not to be bound without keys: peers prove nothing then, so whoever reaches the endpoint can claim a
 * VM that has no process, read and write its memory, and watch all others.
 * @param hasKeys whether the topology has keys: whoever wrote it wants peers to prove who they are
 * @returns undefined if only programs of this host reach it, and nobody wanted them to prove anything
 */
export function exposureProblem(endpoint: string, hasKeys: boolean): string | undefined {
  // Only those reach a Unix socket who may open its directory.
  if (/^(ipc|inproc):\/\//.test(endpoint)) return undefined;
  const host = /^tcp:\/\/(.*):[^:]*$/.exec(endpoint)?.[1];
  // What is no endpoint at all is refused when it is bound. ZeroMQ has other transports, which nobody here has tried.
  if (host === undefined && (endpoint.startsWith('tcp://') || !endpoint.includes('://'))) return undefined;
  const loopback = host !== undefined && LOOPBACK.test(host);
  if (hasKeys) {
    return (
      `endpoint ${endpoint} can be reached by ${loopback ? 'every user of this host' : 'other hosts'}, and the topology ` +
      'has keys: give the directory of the secret ones, --keys DIR, or say --plaintext to do without'
    );
  }
  if (loopback) return undefined;
  return (
    `endpoint ${endpoint} can be reached from other hosts, and nothing on it is encrypted or authenticated: whoever ` +
    'reaches it can claim a VM, and read and write the memory of its devices. Make keys with `remio keys` and give ' +
    '--keys DIR, or bind ipc://… or tcp://127.0.0.1:…, or, in a network that only these hosts are in, say --plaintext'
  );
}
