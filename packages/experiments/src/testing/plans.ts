import { assert } from '@remio/base';
import { type Plan, readPlan } from '../plan.js';

/** The plan of an experiment that a test knows to be good. */
export function planOf(text: string): Plan {
  const { plan, text: problems } = readPlan(text, 'test.yaml');
  assert(plan !== undefined, problems);
  return plan;
}
