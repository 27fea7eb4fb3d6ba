import * as vega from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import type { Plan } from '../plan.js';
import type { PointSummary } from '../summary.js';
import { seriesOf, xOf } from './axes.js';
import { latencyBands, latencyOverLoad, throughput } from './load-plots.js';
import type { Plot } from './plot.js';
import { frames, hops, processes, use } from './stacked-plots.js';

/** Vega's types leave it out. */
const { resetSVGDefIds: resetIds } = vega as unknown as { readonly resetSVGDefIds: () => void };

const CONFIG = {
  font: 'system-ui, sans-serif',
  axis: { labelFontSize: 11, titleFontSize: 12, gridColor: '#e5e5e5' },
  legend: { labelFontSize: 11, titleFontSize: 12, labelLimit: 320, symbolLimit: 40 },
  view: { stroke: '#ccc' },
  range: {
    category: ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c564b', '#000000'],
  },
} as const;

/** A figure as SVG; the same rows give the same text. */
async function svgOf(spec: object): Promise<string> {
  const whole = { config: CONFIG, background: 'white', ...spec } as unknown as TopLevelSpec;
  const view = new vega.View(vega.parse(compile(whole).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  return svg;
}

/** Every plot that an experiment's results give. */
export async function plotsOf(plan: Plan, summaries: readonly PointSummary[]): Promise<readonly Plot[]> {
  const series = seriesOf(plan, summaries);
  if (series.length === 0) return [];
  const x = xOf(plan, series);
  const plots = [
    throughput(plan, series, x),
    latencyBands(series, x),
    latencyOverLoad(series),
    hops(series, x),
    frames(series, x),
    use(series, x),
    processes(series, x),
  ];
  const made: Plot[] = [];
  // Names of clip paths count on: from the same start, the same plots get the same ones.
  resetIds();
  for (const plot of plots) {
    if (plot === undefined) continue;
    const { spec, ...rest } = plot;
    made.push({ ...rest, svg: await svgOf(spec) });
  }
  return made;
}
