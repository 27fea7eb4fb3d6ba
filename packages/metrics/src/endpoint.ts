import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { isIP } from 'node:net';
import { err, ok, type Result } from '@remio/base';
import { ProcessMetrics } from './process-metrics.js';
import { Scrape } from './scrape.js';

/** Where to listen. */
export interface MetricsAddress {
  readonly host: string;
  readonly port: number;
}

/** What the endpoint asks of its process. */
export interface MetricsSource {
  /** Adds what the process has counted. */
  collect(scrape: Scrape): void;
  /** Why the process cannot do its work yet; undefined: it can. */
  notReady(): string | undefined;
}

const PORT_MAX = 65_535;
/** The environment may say where, where no option does. */
export const METRICS_VARIABLE = 'REMIO_METRICS';

/** Reads HOST:PORT, [IPv6]:PORT, or PORT alone, which is of the loopback interface only. Port 0: any that is free. */
export function parseMetricsAddress(text: string): Result<MetricsAddress, string> {
  const [, host = '127.0.0.1', digits = ''] = /^(?:(\[[^\]]*\]|[^:[\]]+):)?(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  const bare = host.replace(/^\[(.*)\]$/, '$1');
  const named = /^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(bare);
  if (digits === '' || port > PORT_MAX || !(named || isIP(bare) !== 0)) {
    return err(`${text} is no address for metrics: write HOST:PORT, such as 127.0.0.1:9464, with a port up to 65535`);
  }
  return ok({ host: bare, port });
}

const TEXT = 'text/plain; charset=utf-8';

/** Answers `/metrics`, `/healthz` and `/readyz` over HTTP. Whoever is not asked does nothing. */
export class MetricsEndpoint {
  readonly #server: Server;
  readonly #source: MetricsSource;
  readonly #process = new ProcessMetrics();

  private constructor(server: Server, source: MetricsSource) {
    this.#server = server;
    this.#source = source;
    server.on('request', (request, response) => void this.#answer(request, response));
  }

  /** Listens; an error says why it cannot, and what to do. */
  static listen(address: MetricsAddress, source: MetricsSource): Promise<Result<MetricsEndpoint, string>> {
    // Prometheus keeps its connection; a stranger who says nothing does not keep one for long.
    const server = createServer({ requestTimeout: 5_000, headersTimeout: 5_000, keepAliveTimeout: 60_000 });
    server.maxConnections = 64;
    return new Promise((resolve) => {
      server.once('error', (error) =>
        resolve(err(`metrics cannot be served at ${showAddress(address)}: ${error.message}; choose another address`)),
      );
      server.listen(address.port, address.host, () => resolve(ok(new MetricsEndpoint(server, source))));
    });
  }

  /** Where it listens, with the port that it got. */
  get address(): MetricsAddress {
    const at = this.#server.address();
    return typeof at === 'object' && at !== null ? { host: at.address, port: at.port } : { host: '', port: 0 };
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const send = (status: number, type: string, body: string): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' });
      response.end(request.method === 'HEAD' ? undefined : body);
    };
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      send(405, TEXT, 'only GET and HEAD\n');
      return;
    }
    const [path] = (request.url ?? '').split('?');
    switch (path) {
      case '/metrics': {
        const scrape = new Scrape(request.headers.accept?.includes('application/openmetrics-text') ?? false);
        this.#source.collect(scrape);
        await this.#process.collect(scrape);
        send(200, scrape.contentType, await scrape.text());
        return;
      }
      case '/healthz':
        send(200, TEXT, 'healthy\n');
        return;
      case '/readyz': {
        const reason = this.#source.notReady();
        send(reason === undefined ? 200 : 503, TEXT, `${reason ?? 'ready'}\n`);
        return;
      }
      default:
        send(404, TEXT, 'there are /metrics, /healthz and /readyz\n');
    }
  }
}

export const showAddress = ({ host, port }: MetricsAddress): string =>
  isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
