import { type CostFigure, costModel } from '@remio/board';
import { METRICS, type Metric, type Settings } from '../language.js';
import type { Plan } from '../plan.js';
import { leftOutOf, platformOf } from '../platform.js';
import type { Environment } from '../run-folder.js';
import type { SensitivityRow } from '../sensitivity.js';
import { nameOf, type PointSummary, show } from '../summary.js';
import { findings, METRIC_TEXT, sensitivityText } from './findings.js';
import { lawsOf } from './laws.js';
import type { Plot } from './plot.js';

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
h1{line-height:1.2}h2{margin-top:2.5rem;border-bottom:1px solid #ddd}figure{margin:1.5rem 0}figcaption,.small{color:#555;font-size:.9rem}
table{border-collapse:collapse;font-size:.85rem;margin:1rem 0;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .6rem;border-bottom:1px solid #e5e5e5;text-align:right;vertical-align:top}th{background:#f6f6f6}
td:first-child,th:first-child,.text{text-align:left}.turned{background:#fde7d9}svg{max-width:100%;height:auto}
.question{font-size:1.15rem}.failed{color:#a40000}pre{background:#f6f6f6;padding:1rem;overflow-x:auto;font-size:.85rem}`;

const table = (head: readonly string[], rows: readonly string[]): string =>
  `<table><thead><tr>${head.map((cell) => `<th>${escaped(cell)}</th>`).join('')}</tr></thead><tbody>${rows.join('\n')}</tbody></table>`;

const row = (cells: readonly string[], className = ''): string =>
  `<tr${className === '' ? '' : ` class="${className}"`}>${cells.map((cell) => `<td>${escaped(cell)}</td>`).join('')}</tr>`;

const number = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString('en') : value >= 10 ? value.toFixed(1) : value.toFixed(2);

/** A report that needs nothing beside itself. The same results give the same bytes. */
export function reportHtml(
  plan: Plan,
  summaries: readonly PointSummary[],
  sensitivity: readonly SensitivityRow[],
  plots: readonly Plot[],
  environment: Environment,
): string {
  const sections = [
    findingsSection(plan, summaries, sensitivity),
    ...plots.map(
      ({ title, caption, svg }) =>
        `<h2>${escaped(title)}</h2><figure>${svg}<figcaption>${escaped(caption)}</figcaption></figure>`,
    ),
    lawsSection(plan, summaries),
    pointsSection(plan, summaries),
    sensitivitySection(plan, sensitivity),
    modelSection(plan),
    `<h2>The experiment</h2><pre>${escaped(plan.text)}</pre>`,
    ...plan.bases.map(({ name, text }) => `<h3>${escaped(name)}</h3><pre>${escaped(text)}</pre>`),
  ];
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(plan.title)}</title><style>${STYLE}</style></head><body>
<h1>${escaped(plan.title)}</h1>
${plan.question === undefined ? '' : `<p class="question">${escaped(plan.question)}</p>`}
${clockText(plan, summaries, environment)}
${baseText(plan)}
${plan.notes === undefined ? '' : `<p>${escaped(plan.notes)}</p>`}
${sections.filter((section) => section !== '').join('\n')}
</body></html>
`;
}

function clockText(plan: Plan, summaries: readonly PointSummary[], environment: Environment): string {
  const runs = `${plan.points.length} points, ${plan.repetitions} repetitions each, seeds from ${plan.seed}.`;
  if (plan.clock === 'wall') return wallText(runs, summaries, environment);
  const synthetic = plan.points.some(({ settings }) => boardOf(settings).startsWith('synthetic-'));
  const board = synthetic
    ? ' The board is synthetic: real ones have four to eight CPUs, each with one vCPU, and are too small for this.'
    : '';
  return `<p class="small">In virtual time: the same code as on the wall clock, every step at the cost of the model below, of which <strong>most figures are estimates</strong>. Look at the order of things and at what they hang on, not at the microseconds.${board} ${runs} Medians and percentiles are means over repetitions.</p>`;
}

function wallText(runs: string, summaries: readonly PointSummary[], environment: Environment): string {
  const { cpu, cores, memoryBytes, system, node } = environment;
  const loads = summaries.flatMap(({ outcomes }) => outcomes.flatMap(({ machineLoad }) => machineLoad ?? []));
  const load =
    loads.length === 0
      ? ''
      : ` Its load average before the runs was ${number(Math.min(...loads))} to ${number(Math.max(...loads))}, Remio’s own earlier runs included.`;
  const memory = `${(memoryBytes / 2 ** 30).toFixed(1)} GiB`;
  return `<p class="small">On the wall clock: separate processes over ZeroMQ, one point after the other, on <strong>${escaped(cpu)}, ${cores} cores, ${memory}, ${escaped(system)}, Node ${escaped(node)}</strong>.${load} <strong>The figures are this machine’s</strong>: what Remio’s processes do on it, not what a board would do. They cannot be compared with figures in virtual time, or of another machine. ${runs} Medians and percentiles are means over repetitions.</p>`;
}

/** What of the base topologies is not there. */
function baseText(plan: Plan): string {
  if (plan.bases.length === 0) return '';
  const leftOut = [...new Set(plan.points.flatMap(({ settings }) => leftOutOf(settings)))].sort();
  const names = plan.bases.map(({ name }) => name).join(', ');
  const without = leftOut.length === 0 ? '' : ` Left out, for the workload does not use them: ${leftOut.join(', ')}.`;
  return `<p class="small">${escaped(`The platform is that of ${names}; its disks are empty ones.${without}`)}</p>`;
}

const boardOf = (settings: Settings): string =>
  settings.base === undefined ? settings.platform.board : (platformOf(settings).topology?.board.name ?? '');

function findingsSection(
  plan: Plan,
  summaries: readonly PointSummary[],
  sensitivity: readonly SensitivityRow[],
): string {
  const lines = findings(plan, summaries);
  const failed = summaries.filter(({ failures }) => failures.length > 0);
  const trust = sensitivityText(plan, sensitivity);
  const parts: string[] = [];
  if (plan.conclusion !== undefined) {
    parts.push(
      `<p>${escaped(`${nameOf(plan.conclusion.compare)} compared by ${METRIC_TEXT[plan.conclusion.metric]}:`)}</p><ul>${lines.map((line) => `<li>${escaped(line)}</li>`).join('')}</ul>`,
    );
  }
  if (trust !== '') parts.push(`<p>${escaped(trust)}</p>`);
  if (failed.length > 0) {
    parts.push(
      `<p class="failed">${failed.length} of ${summaries.length} points failed:</p><ul>${failed
        .map(({ point, failures }) => {
          const at = Object.entries(point.at).map(([name, value]) => `${nameOf(name)} ${show(value)}`);
          return `<li class="failed">${escaped(`${at.join(', ')}: ${[...new Set(failures)].join('; ')}`)}</li>`;
        })
        .join('')}</ul>`,
    );
  }
  return parts.length === 0 ? '' : `<h2>What it found</h2>${parts.join('\n')}`;
}

function lawsSection(plan: Plan, summaries: readonly PointSummary[]): string {
  const laws = lawsOf(plan, summaries);
  if (laws.length === 0) return '';
  const rows = laws.map(({ series, law }) =>
    row([
      series,
      number(law.lambda),
      law.sigma.toFixed(4),
      law.kappa.toExponential(2),
      law.peak === undefined ? 'none' : number(law.peak),
      law.fit.toFixed(3),
    ]),
  );
  const head = ['series', 'λ: one alone, per second', 'σ: contention', 'κ: crosstalk', 'peak at', 'R²'];
  return `<h2>The Universal Scalability Law</h2><p>X(N) = λN / (1 + σ(N − 1) + κN(N − 1)): σ is the share of work that only one can do at a time, κ what each pair costs.</p>${table(head, rows)}`;
}

function pointsSection(plan: Plan, summaries: readonly PointSummary[]): string {
  const names = plan.dimensions.map(({ name }) => name);
  const head = [
    ...names.map(nameOf),
    'operations/s',
    '± 95%',
    'p50 us',
    'p99 us',
    'p99.9 us',
    'accesses/op',
    'interrupts/op',
    'faults',
  ];
  const rows = summaries.map(({ point, outcomes, failures, metrics }) => {
    const at = names.map((name) => show(point.at[name]));
    if (metrics === undefined) return row([...at, `failed: ${failures[0] ?? 'not run'}`], 'failed');
    const [first] = outcomes;
    const time = (metric: Metric): string => number(metrics[metric].mean / 1000);
    const { margin } = metrics.throughput;
    return row([
      ...at,
      number(metrics.throughput.mean),
      Number.isFinite(margin) ? number(margin) : '',
      ...METRICS.filter((metric) => metric !== 'throughput').map(time),
      number(first?.perOperation.accesses ?? 0),
      number(first?.perOperation.interrupts ?? 0),
      String(first?.faults ?? 0),
    ]);
  });
  return `<h2>All points</h2>${table(head, rows)}<p class="small">Raw rows, with every histogram: runs.csv and runs.json beside this report.</p>`;
}

function sensitivitySection(plan: Plan, rows: readonly SensitivityRow[]): string {
  const base = rows.find(({ constant }) => constant === undefined);
  if (base === undefined || plan.conclusion === undefined) return '';
  const { metric } = plan.conclusion;
  const unit = metric === 'throughput' ? 'operations/s' : 'us';
  const scale = metric === 'throughput' ? 1 : 1000;
  const head = [
    'constant',
    'factor',
    ...base.figures.map(({ value }) => `${show(value)}, ${unit}`),
    'best',
    'ahead by',
  ];
  const lines = rows.map(({ constant, factor, figures, best, lead, turned }) =>
    row(
      [
        constant ?? '(as in the model)',
        constant === undefined ? '' : `× ${factor}`,
        ...figures.map(({ figure }, n) => {
          const before = base.figures[n]?.figure ?? 0;
          const change = before === 0 || constant === undefined ? '' : ` (${signed((figure / before - 1) * 100)}%)`;
          return `${number(figure / scale)}${change}`;
        }),
        show(best),
        `× ${lead.toFixed(2)}`,
      ],
      turned ? 'turned' : '',
    ),
  );
  return `<h2>What the conclusion hangs on</h2><p>Each constant of the model halved and doubled, alone; largest effect first. Marked rows turn the conclusion: another one is best then.</p>${table(head, lines)}`;
}

const signed = (value: number): string => `${value >= 0 ? '+' : '−'}${Math.abs(value).toFixed(0)}`;

/** The costs that the points were run with. */
function modelSection(plan: Plan): string {
  if (plan.clock === 'wall') return '';
  const boards = new Map<string, Plan['points'][number]>();
  for (const point of plan.points) {
    const board = boardOf(point.settings);
    if (!boards.has(board)) boards.set(board, point);
  }
  const parts = [...boards].map(([board, point]) => {
    const { topology } = platformOf(point.settings);
    if (topology === undefined) return '';
    const model = costModel(topology.board, topology.costs);
    const line = (name: string, figure: CostFigure, ns: string): string =>
      row([name, number(figure.value), ns, figure.basis, figure.of, figure.source]);
    const rows = [
      line('clock_hz', model.clock, ''),
      ...Object.entries(model.figures).map(([name, figure]) =>
        line(name, figure, number((figure.value * 1e9) / model.clock.value)),
      ),
    ];
    return `<h3>${escaped(board)}</h3>${table(['cost', 'cycles', 'ns', 'basis', 'of', 'source'], rows)}`;
  });
  return `<h2>The cost model</h2>${parts.join('\n')}`;
}
