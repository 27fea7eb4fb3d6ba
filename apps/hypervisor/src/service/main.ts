import { rmSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { METRICS_VARIABLE, parseMetricsAddress } from '@remio/metrics';
import { topologyOfProcess } from '@remio/topology';
import { logger } from './logger.js';
import { protectionOf } from './protection.js';
import { HypervisorService } from './service.js';

const USAGE_ERROR = 2;
const ENVIRONMENT_ERROR = 3;

const { values } = parseArgs({
  options: {
    topology: { type: 'string' },
    checked: { type: 'string' },
    endpoint: { type: 'string' },
    'run-dir': { type: 'string' },
    image: { type: 'string', multiple: true, default: [] },
    record: { type: 'string' },
    keys: { type: 'string' },
    plaintext: { type: 'boolean', default: false },
    metrics: { type: 'string' },
  },
});
const log = logger('hypervisor');

if ((values.topology ?? values.checked) === undefined || values.endpoint === undefined) {
  console.error(
    'usage: hypervisor --topology FILE --endpoint ENDPOINT [--run-dir DIR] [--image NAME=PATH] [--record FILE] [--metrics HOST:PORT] [--keys DIR] [--plaintext]',
  );
  process.exit(USAGE_ERROR);
}
const topology = topologyOfProcess(values);
if (typeof topology === 'string') {
  console.error(topology);
  process.exit(USAGE_ERROR);
}
const where = values.metrics ?? process.env[METRICS_VARIABLE] ?? '';
const metrics = where === '' ? undefined : parseMetricsAddress(where);
if (metrics?.ok === false) {
  console.error(metrics.error);
  process.exit(USAGE_ERROR);
}

const { endpoint, plaintext } = values;
const protection = protectionOf({ topology, endpoint, keys: values.keys, plaintext });
if (!protection.ok) {
  console.error(protection.error);
  process.exit(USAGE_ERROR);
}

const runDirectory = values['run-dir'];
const abandoned = (): never => {
  // Whoever started us was killed: nobody else is left to clean up.
  if (runDirectory !== undefined) rmSync(runDirectory, { recursive: true, force: true });
  process.exit(ENVIRONMENT_ERROR);
};
process.on('disconnect', abandoned);
// It may have been killed while this process was loading, before anybody listened.
if (process.connected === false) abandoned();
try {
  const service = await HypervisorService.start({
    topology,
    endpoint,
    ...(runDirectory === undefined ? {} : { runDirectory }),
    ...(values.record === undefined ? {} : { record: values.record }),
    ...(protection.value === undefined ? {} : { keys: protection.value }),
    ...(metrics === undefined ? {} : { metrics: metrics.value }),
    log: (level, fields, message) => log[level](fields, message),
  });
  process.on('exit', () => service.flushRecording());
  const stop = (): void => {
    void service.stop().then(() => process.exit(0));
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.send?.('ready');
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exit(ENVIRONMENT_ERROR);
}
