import { exampleFiles, isRule, RULE_EXAMPLES, RULES, type RuleId } from '@remio/topology';
import { CommandError, EXIT } from './exit-codes.js';

/**
 * `remio explain`: every rule of the check in a line; `remio explain RULE`: what one says, why, and an example.
 * @throws CommandError if there is no such rule
 */
export function explain(name: string | undefined, json: boolean): void {
  if (name === undefined) {
    if (json)
      console.log(
        JSON.stringify(
          Object.entries(RULES).map(([id, rule]) => ({ id, ...rule })),
          null,
          2,
        ),
      );
    else {
      const width = Math.max(...Object.keys(RULES).map((id) => id.length));
      for (const [id, { says }] of Object.entries(RULES)) console.log(`${id.padEnd(width)}  ${says}`);
    }
    return;
  }
  if (!isRule(name)) throw new CommandError(`no rule is called ${name}; \`remio explain\` lists them`, EXIT.USAGE);
  if (json) console.log(JSON.stringify({ id: name, ...RULES[name], example: RULE_EXAMPLES[name] }, null, 2));
  else console.log(explanation(name));
}

const WIDTH = 100;

function explanation(id: RuleId): string {
  const { says, why } = RULES[id];
  const example = RULE_EXAMPLES[id];
  const { right, wrong } = exampleFiles(example);
  const file = example.of === 'board' ? 'board file' : 'topology';
  return [
    `${id}: ${says}`,
    '',
    wrap(why),
    '',
    `A ${file} that breaks it (-), and one that keeps it (+):`,
    '',
    ...difference(wrong, right),
  ].join('\n');
}

/** Lines that are the same around a difference. */
const CONTEXT = 2;

/** What is different between two texts, as the lines from the first difference to the last. */
function difference(from: string, to: string): readonly string[] {
  const show = (text: string): readonly string[] => text.replaceAll('\0', '\\0').replace(/\n$/, '').split('\n');
  const [a, b] = [show(from), show(to)];
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end += 1;
  const mark = (sign: string, lines: readonly string[]): readonly string[] => lines.map((line) => `  ${sign} ${line}`);
  return [
    ...mark(' ', a.slice(Math.max(0, start - CONTEXT), start)),
    ...mark('-', a.slice(start, a.length - end)),
    ...mark('+', b.slice(start, b.length - end)),
    ...mark(' ', a.slice(a.length - end, Math.min(a.length, a.length - end + CONTEXT))),
  ];
}

function wrap(text: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}
