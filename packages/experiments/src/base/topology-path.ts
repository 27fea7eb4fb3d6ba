/** Plain data, as a YAML file gives it. */
type Data = unknown;
type Mapping = Readonly<Record<string, Data>>;

/** Steps from the root of a topology to a value: keys, and positions in lists. */
export type Place = readonly (string | number)[];

/** A topology with a value set, or why it cannot be: where the path leads nowhere, and what there is. */
export type SetResult =
  | { readonly ok: true; readonly data: Data; readonly places: readonly Place[] }
  | { readonly ok: false; readonly step: string; readonly under: string; readonly there: readonly string[] };

/** Entries have names that the user chose: one that is not there is a slip of the pen. */
const NAMED: readonly string[] = ['vms', 'shared_memories', 'hosts'];
/** Settings that may be left out altogether: a path into them makes them. */
const OPTIONAL: readonly string[] = ['ring', 'costs'];

/**
 * Sets a value wherever a path leads. A path is steps with dots between them: a key, or an item of a list by its position
 * or its `name`; `*` stands for anything, also within a name. The last step may be a field that is not there yet.
 * Where a step before it is not there, nothing is set; if it is nowhere, that is an error.
 * @param data what a topology file has; left as it is
 */
export function setAt(data: Data, path: string, value: Data): SetResult {
  const steps = path.split('.');
  const places: Place[] = [];
  let deepest: { readonly depth: number; readonly at: Place; readonly there: readonly string[] } = {
    depth: -1,
    at: [],
    there: [],
  };

  const set = (node: Data, at: Place): Data => {
    const depth = at.length;
    const step = steps[depth] ?? '';
    const last = depth === steps.length - 1;
    const keys = matching(node, at, step, last);
    if (keys.length === 0 && depth > deepest.depth) deepest = { depth, at, there: namesOf(node) };
    return keys.reduce((whole: Data, key) => {
      const place = [...at, key];
      if (!last) return replaced(whole, key, (before) => set(before, place));
      places.push(place);
      return replaced(whole, key, () => value);
    }, node);
  };

  const changed = set(data, []);
  if (places.length > 0) return { ok: true, data: changed, places };
  const { depth, at, there } = deepest;
  return { ok: false, step: steps[depth] ?? '', under: at.join('.'), there };
}

/** Keys or positions of a node that a step means. */
function matching(node: Data, at: Place, step: string, last: boolean): readonly (string | number)[] {
  if (Array.isArray(node)) {
    const wanted = globOf(step);
    return node.flatMap((item: Data, index) => {
      const name = isMapping(item) ? item['name'] : undefined;
      return step === String(index) || step === '*' || (typeof name === 'string' && wanted.test(name)) ? [index] : [];
    });
  }
  // What is not written is the default of something that can be set in part.
  const optional = node === undefined && OPTIONAL.includes(String(at.at(-1)));
  if (!isMapping(node) && !optional) return [];
  const there = isMapping(node) ? Object.keys(node) : [];
  if (step.includes('*')) {
    const wanted = globOf(step);
    return there.filter((key) => wanted.test(key));
  }
  if (there.includes(step)) return [step];
  const named = at.length === 1 && NAMED.includes(String(at[0]));
  return !named && step !== '' && (last || OPTIONAL.includes(step)) ? [step] : [];
}

/** A copy of a node with one entry changed. */
function replaced(node: Data, key: string | number, change: (before: Data) => Data): Data {
  if (Array.isArray(node)) return node.map((item: Data, index) => (index === key ? change(item) : item));
  const before: Mapping = isMapping(node) ? node : {};
  const after = change(before[key]);
  // A setting of which nothing was set is not made.
  return after === undefined ? before : { ...before, [key]: after };
}

/** What could have been written instead of a step. */
const namesOf = (node: Data): readonly string[] => {
  if (Array.isArray(node))
    return node.map((item: Data, n) => (isMapping(item) ? String(item['name'] ?? n) : String(n)));
  return isMapping(node) ? Object.keys(node) : [];
};

/** Whether names match a pattern in which `*` stands for anything. */
export const globOf = (pattern: string): RegExp => new RegExp(`^${pattern.split('*').map(escaped).join('.*')}$`, 'u');

const escaped = (text: string): string => text.replaceAll(/[\\^$.|?+()[\]{}/]/gu, String.raw`\$&`);

export const isMapping = (node: Data): node is Mapping =>
  typeof node === 'object' && node !== null && !Array.isArray(node);
