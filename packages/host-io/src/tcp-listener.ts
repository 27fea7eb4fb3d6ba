import { createServer, type Socket } from 'node:net';
import { err, ok, type Result } from '@remio/base';

/** A port that is listened on. */
export interface TcpListener {
  /** The port that it is, also where any was asked for. */
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Listens on a port of this host.
 * @param port 0: any that is free
 * @param onConnection takes connections; each is paused, and open in one direction after the other was ended
 * @returns why it cannot be listened on
 */
export function listenTcp(
  host: string,
  port: number,
  onConnection: (socket: Socket) => void,
): Promise<Result<TcpListener, string>> {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, onConnection);
  return new Promise((resolve) => {
    server.once('error', (error) => resolve(err(`port ${port} of ${host} cannot be listened on: ${error.message}`)));
    server.listen({ host, port }, () => {
      const address = server.address();
      const bound = typeof address === 'object' && address !== null ? address.port : port;
      resolve(ok({ port: bound, close: () => new Promise((closed) => server.close(() => closed())) }));
    });
  });
}
