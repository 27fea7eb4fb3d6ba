/** Milliseconds: for what takes seconds on a machine that is not busy. */
const PATIENCE = 90_000;

/** A Prometheus that watches a platform. */
export class Prometheus {
  readonly #url: string;

  /** @param url of its server, without a path */
  constructor(url: string) {
    this.#url = url;
  }

  /** What a query gives, by the labels that are asked for. */
  async query(expr: string, ...labels: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const { result } = (await this.#get(`query?query=${encodeURIComponent(expr)}`)) as {
      readonly result: readonly {
        readonly metric: Readonly<Record<string, string>>;
        readonly value: [number, string];
      }[];
    };
    return new Map(
      result.map(({ metric, value }) => [labels.map((label) => metric[label]).join(' '), Number(value[1])]),
    );
  }

  /** Names of the alerts that fire now. */
  async firing(): Promise<readonly string[]> {
    const { alerts } = (await this.#get('alerts')) as {
      readonly alerts: readonly { readonly state: string; readonly labels: { readonly alertname: string } }[];
    };
    return alerts.filter(({ state }) => state === 'firing').map(({ labels }) => labels.alertname);
  }

  /**
   * Waits until each of these devices has verified more than it had; counts begin anew with a process.
   * @param devices `vm device`
   */
  async moreVerified(devices: readonly string[], told: () => unknown): Promise<void> {
    const least = new Map<string, number>();
    const moved = new Set<string>();
    await until(
      `every one of ${devices.join(', ')} goes on`,
      async () => {
        const now = await this.query('sum by (vm, device) (remio_verified_bytes_total)', 'vm', 'device');
        for (const key of devices) {
          const value = now.get(key);
          if (value === undefined) continue;
          if (value > (least.get(key) ?? value)) moved.add(key);
          least.set(key, Math.min(value, least.get(key) ?? value));
        }
        return moved.size === devices.length;
      },
      () => [Object.fromEntries(least), [...moved], told()],
    );
  }

  async #get(path: string): Promise<unknown> {
    const response = await fetch(`${this.#url}/api/v1/${path}`);
    return ((await response.json()) as { readonly data: unknown }).data;
  }
}

/** Waits until something is so; says what was so instead when patience ends. */
export async function until(
  what: string,
  is: () => Promise<boolean> | boolean,
  told: () => unknown = () => '',
): Promise<void> {
  for (const start = Date.now(); ; ) {
    if (await is()) return;
    if (Date.now() - start > PATIENCE)
      throw new Error(`in vain: ${what}; ${JSON.stringify(await told(), undefined, 1)}`);
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}
