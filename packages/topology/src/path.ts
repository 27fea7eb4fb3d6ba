/** Steps from the root of a file: field names and positions in lists. */
export type Path = readonly (string | number)[];

/** A path as it is shown: `vms.backend.remio_devs[0]`. */
export const showPath = (path: Path): string =>
  path.map((step, n) => (typeof step === 'number' ? `[${step}]` : n === 0 ? step : `.${step}`)).join('');
