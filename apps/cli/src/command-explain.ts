import { isRule, RULE_EXAMPLES, RULES, type RuleId } from '@remio/topology';
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
  const { right, wrong, of } = RULE_EXAMPLES[id];
  const part = (text: string): string =>
    text === '' ? '    (nothing)' : indent(text.replaceAll('\0', '\\0').replace(/^\n+|\n+$/g, ''));
  const file = of === 'board' ? 'in a board file' : 'in a topology';
  return [`${id}: ${says}`, '', wrap(why), '', `wrong, ${file}:`, part(wrong), 'right:', part(right)].join('\n');
}

/** A part of a file, moved to four columns. */
function indent(text: string): string {
  const lines = text.split('\n');
  const first = /^ */.exec(lines[0] ?? '')?.[0].length ?? 0;
  const others = lines.slice(1).map((line) => /^ */.exec(line)?.[0].length ?? 0);
  // A part that starts within a line has its first line at the column of the next.
  const cut = first === 0 && others.length > 0 ? Math.min(...others) : first;
  return lines
    .map((line, n) => `    ${n === 0 ? line.trimStart() : line.slice(Math.min(cut, others[n - 1] ?? 0))}`)
    .join('\n');
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
