import { ok, type Result } from '@remio/base';
import type { Topology } from '@remio/topology';
import { withMemory } from './assumed-memory.js';
import { buildNote } from './build-note.js';
import { configText } from './export-config.js';
import { deviceModelFile } from './export-device-model.js';
import { vmTree } from './export-device-tree.js';
import { checkExport, type Tell } from './export-limits.js';
import type { ExportProblem } from './problems.js';
import { type Relocate, SIDECAR_NAME, sidecarText } from './sidecar.js';
import { type Path, TopologyText } from './topology-text.js';

/** A file of an export. */
export interface ExportFile {
  /** Name in the export's directory. */
  readonly name: string;
  readonly text: string;
}

export interface BaoExport {
  readonly files: readonly ExportFile[];
  readonly warnings: readonly ExportProblem[];
}

export interface ExportOptions {
  /** The topology's file, as errors name it. */
  readonly file: string;
  /** Its name, as comments in the exported files have it. */
  readonly label: string;
  /** Makes a path that counts from the topology's file count from the export's directory. */
  readonly relocate: Relocate;
  /** For a Bao whose messages and CPU maps are wider than the reference's: its limits are warnings. */
  readonly wide?: boolean;
}

/** Everything that an export makes starts with a line that has this. */
export const EXPORT_MARK = 'Made by `remio export bao`';

/**
 * What a topology is for Bao: its configuration, device trees, device models, and a note on how to build.
 * The same topology gives the same bytes.
 * @param text the file that `topology` was read from
 * @returns every error, if there is any
 */
export function exportBao(
  topology: Topology,
  text: string,
  { file, label, relocate, wide = false }: ExportOptions,
): Result<BaoExport, readonly ExportProblem[]> {
  const source = new TopologyText(text);
  const problems: ExportProblem[] = [];
  const tell =
    (severity: ExportProblem['severity']): Tell =>
    (rule, path, message, fix) => {
      problems.push({ severity, rule, file, place: source.placeOf(path), path: showPath(path), message, fix });
    };
  const warning = tell('warning');
  checkExport(topology, { error: tell('error'), limit: wide ? warning : tell('error'), warning });
  if (problems.some(({ severity }) => severity === 'error')) return { ok: false, error: problems };

  const { topology: whole, assumed } = withMemory(topology);
  const files: ExportFile[] = [{ name: 'config.c', text: configText(whole, assumed, source, label) }];
  for (const vm of whole.vms) {
    const { dts, dtsi } = vmTree(whole, vm, source, label);
    files.push({ name: `${vm.name}.dts`, text: dts }, { name: `${vm.name}.dtsi`, text: dtsi });
    if (vm.remioDevs.every(({ type }) => type === 'frontend')) continue;
    const model = deviceModelFile(topology, vm, source, label);
    files.push({ name: `${vm.name}.devices.yaml`, text: model.text });
    for (const { path, message, fix } of model.gaps) warning('bao-device-model', path, message, fix);
  }
  files.push({ name: SIDECAR_NAME, text: sidecarText(topology, source, label, relocate) });
  files.push({ name: 'BUILD.md', text: buildNote(whole, source, label) });
  return ok({ files, warnings: problems });
}

const showPath = (path: Path): string =>
  path.map((step, n) => (typeof step === 'number' ? `[${step}]` : n === 0 ? step : `.${step}`)).join('');
