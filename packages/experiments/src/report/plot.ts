/** A plot for the report and for papers. */
export interface Plot {
  readonly name: string;
  readonly title: string;
  /** What it shows, in a sentence. */
  readonly caption: string;
  readonly svg: string;
}

/** A plot that is not drawn yet: what Vega-Lite makes of it. */
export interface Spec extends Omit<Plot, 'svg'> {
  readonly spec: object;
}
