import { Latency } from '@remio/telemetry';
import { afterEach, describe, expect, it } from 'vitest';
import { METRICS, MetricsEndpoint, type MetricsSource, parseMetricsAddress, Scrape, showAddress } from './index.js';

const BASE_UNITS = /_(seconds|bytes|ratio)(_total)?$/;

describe('the catalogue of metrics', () => {
  it('has names of OpenMetrics: what only grows ends in _total, and nothing else does', () => {
    for (const [name, { type }] of Object.entries(METRICS)) {
      expect(name).toMatch(/^(remio|process)_[a-z_]+$/);
      expect(name.endsWith('_total'), name).toBe(type === 'counter');
      if (type === 'histogram') expect(name).toMatch(BASE_UNITS);
    }
  });

  it('measures time in seconds and memory in bytes', () => {
    expect(Object.keys(METRICS).filter((name) => /_(ms|us|ns|milli|micro|nano|kib|mib|percent)/.test(name))).toEqual(
      [],
    );
  });
});

describe('a scrape', () => {
  it('shows counters, gauges and latencies in the format of OpenMetrics', async () => {
    const latency = new Latency();
    for (const ns of [50_000, 150_000, 3_000_000]) latency.record(ns);
    const scrape = new Scrape(true);
    scrape.count('remio_traps_total', { vm: 'guest0' }, 7);
    scrape.gauge('remio_vm_attached', { vm: 'guest0' }, 1);
    scrape.latency('remio_hop_seconds', { hop: 'round_trip', vm: 'guest0' }, latency);
    const text = await scrape.text();
    expect(scrape.contentType).toMatch(/^application\/openmetrics-text/);
    expect(text).toContain('# TYPE remio_traps counter\nremio_traps_total{vm="guest0"} 7\n');
    expect(text).toContain('remio_vm_attached{vm="guest0"} 1\n');
    expect(text).toContain('remio_hop_seconds_bucket{le="0.00006",hop="round_trip",vm="guest0"} 1\n');
    expect(text).toContain('remio_hop_seconds_bucket{le="0.001",hop="round_trip",vm="guest0"} 2\n');
    expect(text).toContain('remio_hop_seconds_bucket{le="+Inf",hop="round_trip",vm="guest0"} 3\n');
    expect(text).toContain('remio_hop_seconds_count{hop="round_trip",vm="guest0"} 3\n');
    const [, sum] = /remio_hop_seconds_sum\{[^}]*\} (\S+)/.exec(text) ?? [];
    expect(Number(sum)).toBeCloseTo(0.0032, 4);
    expect(text.endsWith('# EOF\n')).toBe(true);
  });

  it('shows counters under their own names in the older format', async () => {
    const scrape = new Scrape(false);
    scrape.count('remio_faults_total', { vm: 'a' }, 0);
    expect(await scrape.text()).toContain('# TYPE remio_faults_total counter\nremio_faults_total{vm="a"} 0\n');
  });

  it('escapes what a topology or a program may call things', async () => {
    const scrape = new Scrape(true);
    scrape.count('remio_rules_total', { rule: 'a"b\\c\nd' }, 1);
    expect(await scrape.text()).toContain('remio_rules_total{rule="a\\"b\\\\c\\nd"} 1\n');
  });
});

describe('an address for metrics', () => {
  it.each([
    ['9464', { host: '127.0.0.1', port: 9464 }],
    ['0.0.0.0:1', { host: '0.0.0.0', port: 1 }],
    ['[::1]:9464', { host: '::1', port: 9464 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
  ])('%s', (text, address) => {
    expect(parseMetricsAddress(text)).toEqual({ ok: true, value: address });
  });

  it.each(['', 'localhost', ':9464', '::1:9464', '127.0.0.1:65536', '127.0.0.1:-1', '[nobody]x:1', 'a b:1', '[..]:1'])(
    '%j is none',
    (text) => {
      const address = parseMetricsAddress(text);
      expect(address.ok ? '' : address.error).toMatch(/write HOST:PORT/);
    },
  );

  it('is shown as it is written', () => {
    expect(showAddress({ host: '::1', port: 1 })).toBe('[::1]:1');
    expect(showAddress({ host: '127.0.0.1', port: 1 })).toBe('127.0.0.1:1');
  });
});

describe('the endpoint', () => {
  const open: MetricsEndpoint[] = [];
  afterEach(() => {
    for (const endpoint of open.splice(0)) endpoint.close();
  });
  const serve = async (source: Partial<MetricsSource> = {}): Promise<string> => {
    const endpoint = await MetricsEndpoint.listen(
      { host: '127.0.0.1', port: 0 },
      { collect: () => {}, notReady: () => undefined, ...source },
    );
    if (!endpoint.ok) throw new Error(endpoint.error);
    open.push(endpoint.value);
    return `http://${showAddress(endpoint.value.address)}`;
  };

  it('says that the process is healthy, and why it is not ready yet', async () => {
    let reason: string | undefined = 'no process runs guest0';
    const url = await serve({ notReady: () => reason });
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    const waiting = await fetch(`${url}/readyz`);
    expect([waiting.status, await waiting.text()]).toEqual([503, 'no process runs guest0\n']);
    reason = undefined;
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });

  it('counts afresh at every scrape, and nothing before the first', async () => {
    let collected = 0;
    const url = await serve({
      collect: (scrape) => {
        collected += 1;
        scrape.count('remio_peers_refused_total', {}, 5);
      },
    });
    await fetch(`${url}/healthz`);
    expect(collected).toBe(0);
    for (const times of [1, 2]) {
      const text = await (await fetch(`${url}/metrics`)).text();
      expect(text).toContain('remio_peers_refused_total 5\n');
      expect(text).toMatch(/process_resident_memory_bytes [1-9]/);
      expect(text).toMatch(/remio_event_loop_lag_seconds \d/);
      expect(collected).toBe(times);
    }
  });

  it('answers OpenMetrics to whoever asks for it', async () => {
    const url = await serve();
    const asked = await fetch(`${url}/metrics`, { headers: { accept: 'application/openmetrics-text; version=1.0.0' } });
    expect(asked.headers.get('content-type')).toMatch(/^application\/openmetrics-text/);
    expect((await fetch(`${url}/metrics`)).headers.get('content-type')).toMatch(/^text\/plain/);
  });

  it('takes nothing else', async () => {
    const url = await serve();
    expect((await fetch(`${url}/`)).status).toBe(404);
    expect((await fetch(`${url}/metrics`, { method: 'POST' })).status).toBe(405);
  });

  it('says what to do where the address is taken', async () => {
    const url = new URL(await serve());
    const second = await MetricsEndpoint.listen(
      { host: url.hostname, port: Number(url.port) },
      { collect: () => {}, notReady: () => undefined },
    );
    expect(second.ok ? '' : second.error).toMatch(/EADDRINUSE.*choose another address/);
  });
});
