import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { METRICS, type MetricKind } from '@remio/metrics';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '..', '..');
const read = (...path: readonly string[]): string => readFileSync(join(root, ...path), 'utf8');
const metrics: Readonly<Record<string, MetricKind>> = METRICS;

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly expr: string }[] }[];
}
interface Alerts {
  readonly groups: readonly {
    readonly rules: readonly {
      readonly alert: string;
      readonly expr: string;
      readonly annotations: Readonly<Record<string, string>>;
    }[];
  }[];
}

/** Metrics that an expression names, each with the labels that it gives values, or sums and joins by. */
const named = (expr: string): readonly string[] => expr.match(/\b(?:remio|process)_[a-z_]+\b/g) ?? [];
/** What a histogram's series are called. */
const familyOf = (name: string): string => (name in metrics ? name : name.replace(/_(bucket|sum|count)$/, ''));

/** What is wrong with an expression. */
function wrongWith(expr: string): readonly string[] {
  const unknown = named(expr).filter((name) => {
    const kind = metrics[familyOf(name)];
    return kind === undefined || (kind.type === 'histogram') === name in metrics;
  });
  // A counter that is shown as it is says nothing: only its growth does.
  const bare = named(expr).filter(
    (name) => metrics[name]?.type === 'counter' && !new RegExp(`(rate|increase|label_replace)\\(${name}`).test(expr),
  );
  const labels = new Set(named(expr).flatMap((name) => metrics[familyOf(name)]?.labels ?? []));
  const asked = [...expr.matchAll(/\b(?:by|on) \(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/,\s*/));
  const matched = [...expr.matchAll(/_[a-z]+\{([a-z_]+)=/g)].map(([, label = '']) => label);
  const strange = [...asked, ...matched].filter((label) => !labels.has(label) && !['le', 'instance'].includes(label));
  return [...unknown, ...bare.map((name) => `${name} is no rate`), ...strange.map((label) => `no label ${label}`)];
}

describe('what operators are given to look at', () => {
  const { panels } = JSON.parse(read('deploy', 'grafana', 'remio.json')) as Dashboard;
  const alerts = (parse(read('deploy', 'prometheus', 'alerts.yaml')) as Alerts).groups.flatMap(({ rules }) => rules);

  it('the dashboard names only metrics and labels that there are', () => {
    const wrong = panels.flatMap(({ title, targets }) =>
      targets.flatMap(({ expr }) => wrongWith(expr).map((what) => `${title}: ${what}`)),
    );
    expect(wrong).toEqual([]);
    expect(panels.length).toBeGreaterThan(10);
  });

  it('the alerts name only metrics and labels that there are', () => {
    expect(alerts.flatMap(({ alert, expr }) => wrongWith(expr).map((what) => `${alert}: ${what}`))).toEqual([]);
  });

  it('an expression is found wrong that names what is not there', () => {
    expect(wrongWith('rate(remio_trap_total[1m])')).toEqual(['remio_trap_total']);
    expect(wrongWith('remio_traps_total')).toEqual(['remio_traps_total is no rate']);
    expect(wrongWith('sum by (cpu) (rate(remio_traps_total[1m]))')).toEqual(['no label cpu']);
    expect(wrongWith('remio_hop_seconds > 1')).toEqual(['remio_hop_seconds']);
    expect(wrongWith('remio_traps_bucket')).toEqual(['remio_traps_bucket']);
  });

  it('every alert has a case that says when it fires', () => {
    const cases = read('deploy', 'prometheus', 'alerts.test.yaml');
    for (const { alert } of alerts) {
      expect(cases).toMatch(new RegExp(`alertname: ${alert}\\n\\s+eval_time: \\d+s\\n\\s+exp_alerts:\\n`));
    }
  });

  it('what an alert refers to is a heading of docs/operations.md', () => {
    const page = read('docs', 'operations.md');
    for (const { alert, annotations } of alerts) {
      for (const [, heading] of (annotations['description'] ?? '').matchAll(/See "([^"]+)"/g)) {
        expect(page, alert).toContain(`### ${heading}\n`);
      }
    }
  });

  it('docs/operations.md lists every metric', () => {
    const page = read('docs', 'operations.md');
    const rows = Object.entries(metrics).map(
      ([name, { type, labels, help }]) =>
        `| \`${name}\` | ${type} | ${labels.map((label) => `\`${label}\``).join(', ')} | ${help} |`,
    );
    for (const row of rows) expect(page).toContain(row);
  });
});
