/** Addresses that only programs of this host reach. */
const LOOPBACK = /^(127(\.\d{1,3}){3}|localhost|\[?::1\]?)$/i;

/**
 * Why an endpoint is not to be bound as things are: peers prove nothing yet, so whoever reaches the endpoint can claim a VM
 * that has no process, read and write its memory, and watch all others.
 * @returns undefined if only programs of this host reach it
 */
export function exposureProblem(endpoint: string): string | undefined {
  if (/^(ipc|inproc):\/\//.test(endpoint)) return undefined;
  const host = /^tcp:\/\/(.*):[^:]*$/.exec(endpoint)?.[1];
  // What is no endpoint at all is refused when it is bound.
  if (host === undefined || LOOPBACK.test(host)) return undefined;
  return (
    `endpoint ${endpoint} can be reached from other hosts, and nothing on it is encrypted or authenticated: whoever ` +
    'reaches it can claim a VM, and read and write the memory of its devices. Bind ipc://… or tcp://127.0.0.1:…, or, ' +
    'in a network that only these hosts are in, say --plaintext'
  );
}
