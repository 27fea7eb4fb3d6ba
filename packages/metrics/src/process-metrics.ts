import type { Scrape } from './scrape.js';

const { eventLoopUtilization, timeOrigin, now } = performance;

/** What every process tells of itself. */
export class ProcessMetrics {
  #before = eventLoopUtilization();

  /** Adds what is so now; takes one turn of the event loop, whose lag is measured so. */
  async collect(scrape: Scrape): Promise<void> {
    const asked = now.call(performance);
    await new Promise((resolve) => setImmediate(resolve));
    scrape.gauge('remio_event_loop_lag_seconds', {}, (now.call(performance) - asked) / 1e3);
    const busy = eventLoopUtilization();
    scrape.gauge('remio_event_loop_busy_ratio', {}, eventLoopUtilization(busy, this.#before).utilization);
    this.#before = busy;
    const { user, system } = process.cpuUsage();
    scrape.count('process_cpu_seconds_total', {}, (user + system) / 1e6);
    const { rss, heapUsed } = process.memoryUsage();
    scrape.gauge('process_resident_memory_bytes', {}, rss);
    scrape.gauge('process_heap_bytes', {}, heapUsed);
    scrape.gauge('process_start_time_seconds', {}, timeOrigin / 1e3);
  }
}
