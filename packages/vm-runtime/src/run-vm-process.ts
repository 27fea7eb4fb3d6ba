import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { err, type Result } from '@remio/base';
import { logger, peerKeys } from '@remio/hypervisor';
import { METRICS_VARIABLE, type MetricsAddress, parseMetricsAddress } from '@remio/metrics';
import { VM_KINDS } from '@remio/protocol';
import { hostNeeds, kindOf, type Topology, topologyOfProcess } from '@remio/topology';
import { type PeerKeys, peerKeyFile } from '@remio/transport';
import type { ProgramTable } from './program-of.js';
import { type Claim, ENVIRONMENT_ERROR, fail, GOODBYE_MS, USAGE_ERROR, VmProcess } from './vm-process.js';

/** The `main` of a process that runs VMs: takes its arguments, attaches, and runs until it is stopped. */
export async function runVmProcess(name: string, programs: ProgramTable): Promise<void> {
  const { values } = parseArgs({
    options: {
      topology: { type: 'string' },
      checked: { type: 'string' },
      vm: { type: 'string', multiple: true, default: [] },
      claim: { type: 'string' },
      connect: { type: 'string' },
      keys: { type: 'string' },
      'run-dir': { type: 'string' },
      image: { type: 'string', multiple: true, default: [] },
      metrics: { type: 'string' },
    },
  });
  // Whoever started this process was killed, perhaps while it was loading.
  process.on('disconnect', () => process.exit(ENVIRONMENT_ERROR));
  if (process.connected === false) process.exit(ENVIRONMENT_ERROR);
  const log = logger(name);
  const { connect, 'run-dir': runDirectory } = values;
  const claim = claimOf(values.vm, values.claim);
  if ((values.topology ?? values.checked) === undefined || connect === undefined || claim === undefined) {
    fail(
      USAGE_ERROR,
      `usage: ${name} --topology FILE (--vm NAME | --claim ${VM_KINDS.join('|')}) --connect ENDPOINT [--keys DIR] [--run-dir DIR] [--image NAME=PATH] [--metrics HOST:PORT]`,
    );
  }
  const metrics = metricsAddress(values.metrics);
  const topology = topologyOfProcess(values);
  if (typeof topology === 'string') fail(USAGE_ERROR, topology);
  if (typeof claim !== 'string') {
    const unknown = claim.find((wanted) => !topology.vms.some((vm) => vm.name === wanted));
    if (unknown !== undefined) {
      const names = topology.vms.map((other) => other.name).join(', ');
      fail(USAGE_ERROR, `${topology.file} has no VM ${unknown}; it has ${names}`);
    }
  }
  const keys = values.keys === undefined ? undefined : keysOf(topology, claim, values.keys);
  if (keys?.ok === false) fail(USAGE_ERROR, keys.error);
  const start = { endpoint: connect, claim, keys: keys?.value, programs };
  const process_ = new VmProcess(topology, runDirectory, start, (level, fields, message) =>
    log[level](fields, message),
  );
  const failure = (await process_.serveMetrics(metrics)) ?? (await process_.boot());
  if (failure !== undefined) {
    process_.giveUp(failure);
    return;
  }
  const stop = (): void => {
    process_.stop('stopped');
    setTimeout(() => process.exit(0), GOODBYE_MS);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  process.send?.('ready');
}

function claimOf(vms: readonly string[], kind: string | undefined): Claim | undefined {
  if (vms.length > 0) return kind === undefined ? vms : undefined;
  return VM_KINDS.find((each) => each === kind);
}

/** Keys of a process: those of its VMs, or, if it takes any VM of a kind, those that are in the directory. */
function keysOf(topology: Topology, claim: Claim, directory: string): Result<PeerKeys, string> {
  if (typeof claim !== 'string') return peerKeys(topology, claim, directory);
  const claimable = topology.vms.filter((vm) => kindOf(vm) === claim && hostNeeds(vm).length === 0);
  const names = claimable.map(({ name }) => name).filter((name) => existsSync(join(directory, peerKeyFile(name))));
  if (names.length > 0) return peerKeys(topology, names, directory);
  return err(
    `${directory} has the key of no ${claim} that any process may claim; such files are ${peerKeyFile('NAME')}`,
  );
}

function metricsAddress(option: string | undefined): MetricsAddress | undefined {
  const text = option ?? process.env[METRICS_VARIABLE] ?? '';
  if (text === '') return undefined;
  const address = parseMetricsAddress(text);
  if (!address.ok) fail(USAGE_ERROR, address.error);
  return address.value;
}
