import { err, ok, type Result } from '@remio/base';
import { isMap, isScalar, type Node } from 'yaml';
import { readYaml } from './yaml-text.js';

/** Public keys of a topology. */
export interface TopologyKeys {
  readonly hypervisor: string;
  readonly observer: string;
  /** By name. */
  readonly vms: ReadonlyMap<string, string>;
}

const KEYS = 'keys';

/** The section of a topology file that binds these keys. Z85 has neither quotes nor backslashes. */
export const renderKeys = ({ hypervisor, observer, vms }: TopologyKeys): string =>
  [
    `${KEYS}:`,
    `  hypervisor: "${hypervisor}"`,
    `  observer: "${observer}"`,
    '  vms:',
    ...[...vms].map(([name, key]) => `    ${name}: "${key}"`),
    '',
  ].join('\n');

/**
 * A topology\u2019s text with another section of keys, or without one, and the rest as it is, comments included.
 * @param section as {@link renderKeys} makes it; empty: none
 * @returns why it cannot be put there
 */
export function replaceKeys(text: string, section: string): Result<string, string> {
  const { root, problems } = readYaml(text);
  const [problem] = problems;
  if (problem !== undefined) return err(problem.message);
  if (!isMap(root) || root.flow === true) return err('the file is no map with a line for each field');
  const pair = root.items.find(({ key }) => isScalar(key) && key.value === KEYS);
  if (pair === undefined) {
    const end = text === '' || text.endsWith('\n') ? '' : '\n';
    return ok(text + end + section);
  }
  const start = (pair.key as Node).range?.[0] ?? 0;
  const stop = (pair.value as Node | null)?.range?.[1] ?? start;
  // From the start of its line to the end of its last one.
  const last = text.slice(start, stop).trimEnd().length + start;
  const after = text.indexOf('\n', last);
  return ok(text.slice(0, start) + section + (after < 0 ? '' : text.slice(after + 1)));
}
