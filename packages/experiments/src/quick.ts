import type { Scalar } from './language.js';
import type { Plan } from './plan.js';

/** Beyond this, a number of something makes a point expensive. */
const LARGE = 64;
const REPETITIONS = 2;
/** What counts is shortened so much. */
const SHORTER = 4;
/** Nanoseconds that count, at least. */
const SHORTEST_NS = { virtual: 2_000_000, wall: 100_000_000 } as const;

/**
 * An experiment at a small size, to see that it works: the ends of every dimension, short runs, two repetitions, no
 * analysis of what the conclusion hangs on. Its figures say nothing.
 */
export function quickPlan(plan: Plan): Plan {
  const kept = new Map(
    plan.dimensions.map(({ name, values }) => {
      const small = values.filter((value) => typeof value !== 'number' || value <= LARGE);
      const some = small.length > 0 ? small : values.slice(0, 1);
      const ends: readonly (Scalar | undefined)[] = [some[0], some[Math.floor(some.length / 2)], some.at(-1)];
      return [name, some.filter((value) => ends.includes(value))];
    }),
  );
  const points = plan.points
    .filter(({ at }) => Object.entries(at).every(([name, value]) => kept.get(name)?.includes(value) === true))
    .map((point, id) => {
      const { measure } = point.settings;
      const shorter = (ns: number): number => Math.min(ns, Math.max(SHORTEST_NS[plan.clock], ns / SHORTER));
      // In virtual time a warm-up is as long as what it is for.
      const warmUp = plan.clock === 'wall' ? shorter(measure.warm_up) : measure.warm_up;
      const short = { ...measure, warm_up: warmUp, duration: shorter(measure.duration) };
      return { ...point, id, settings: { ...point.settings, measure: short } };
    });
  const dimensions = plan.dimensions.map(({ name }) => ({ name, values: kept.get(name) ?? [] }));
  // Where the conclusion is to be drawn may be gone.
  const conclusion = plan.conclusion === undefined ? undefined : { ...plan.conclusion, at: {} };
  return { ...plan, points, dimensions, conclusion, repetitions: Math.min(REPETITIONS, plan.repetitions) };
}
