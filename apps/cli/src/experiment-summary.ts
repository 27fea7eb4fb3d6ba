import { itemsOf, type Plan, type RunFolder, showShard, summarize } from '@remio/experiments';
import { renderTable, showDuration } from '@remio/telemetry';
import { EXIT, type ExitCode } from './exit-codes.js';

/**
 * Prints what a folder has: figures by point, and where the report is.
 * @returns whether each point has a run that did not fail; of a shard nobody asks yet
 */
export function tellResults(plan: Plan, folder: RunFolder, json: boolean): ExitCode {
  const { path, reportFile, shard } = folder;
  // Of a shard nobody asks for the others' points.
  const summaries = itemsOf(summarize(plan, folder.runs), shard);
  if (json) {
    const points = summaries.map(({ point, metrics, failures }) => ({ at: point.at, metrics, failures }));
    const plain = (_: string, value: unknown): unknown => (value === Number.POSITIVE_INFINITY ? null : value);
    const what = shard === undefined ? { report: reportFile } : { shard: { index: shard.index, of: shard.of } };
    console.log(JSON.stringify({ folder: path, ...what, points }, plain));
  } else {
    console.log(renderSummary(plan, summaries));
    if (shard === undefined) console.log(`\nreport: ${reportFile}`);
    else {
      const next = 'a report is made of all of them: remio experiment gather DIR...';
      console.log(`\nshard ${showShard(shard)} of ${plan.name}: ${path}; ${next}`);
    }
  }
  // A failed point is part of what there is to gather: engines that run shards must not make it again and again.
  if (shard !== undefined) return EXIT.OK;
  return summaries.some(({ metrics }) => metrics === undefined) ? EXIT.FAILED : EXIT.OK;
}

function renderSummary(plan: Plan, summaries: ReturnType<typeof summarize>): string {
  const names = plan.dimensions.map(({ name }) => name);
  const rows = summaries.map(({ point, metrics, failures }) => {
    const at = names.map((name) => String(point.at[name] ?? ''));
    if (metrics === undefined) return [...at, failures.length > 0 ? 'failed' : 'not made', '', '', ''];
    const { throughput } = metrics;
    const margin = Number.isFinite(throughput.margin) ? Math.round(throughput.margin).toLocaleString('en') : '';
    return [
      ...at,
      Math.round(throughput.mean).toLocaleString('en'),
      margin,
      showDuration(metrics.p50.mean),
      showDuration(metrics.p99.mean),
    ];
  });
  return renderTable([[...names, 'operations/s', '±', 'p50', 'p99'], ...rows]);
}
