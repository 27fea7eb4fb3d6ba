import type { Trial } from '@remio/hostile';

/** Characters of the columns. */
const WIDTH = { id: 4, clause: 24, expected: 9 } as const;

/** A case and its verdict, as a line of the table. */
export const renderTrial = ({ id, clause, title, expected, seen, detail, ok }: Trial): string => {
  const cells = [
    ok ? '     ' : 'WRONG',
    id.padEnd(WIDTH.id),
    clause.padEnd(WIDTH.clause),
    expected.join('|').padEnd(WIDTH.expected),
    seen,
    title,
  ];
  return `${cells.join('  ')}${detail === undefined ? '' : ` (${detail})`}`;
};

/** What the letters of the table mean. */
const LEGEND = [
  'R rejected alone; L queue latched, DEVICE_NEEDS_RESET; I ignored; C works; N driver resets the device and goes on;',
  'B driver gives up on the device; - the case did not come about; W hangs; F did what nobody may do',
].join('\n');

/** How many verdicts are as wanted, and what the letters mean. */
export const renderVerdicts = (trials: readonly Trial[]): string => {
  const wrong = trials.filter(({ ok }) => !ok).length;
  const none = trials.filter(({ seen }) => seen === '-').length;
  const about = none === 0 ? '' : `, ${none} did not come about`;
  return `${LEGEND}\n${trials.length} cases: ${trials.length - wrong - none} as wanted${about}, ${wrong} wrong`;
};
