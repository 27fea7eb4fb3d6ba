import {
  BUILTIN_PROGRAMS,
  EXAMPLE_TOPOLOGY,
  exampleFiles,
  fixText,
  parseTopology,
  RULE_EXAMPLES,
  RULES,
} from '@remio/topology';
import { describe, expect, it } from 'vitest';
import { toGithub, toSarif } from './diagnostic-formats.js';

const check = (text: string, file = 'a b/x,1.yaml') =>
  parseTopology(text, file, {
    resolve: (path) => path,
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });

/** Every kind of diagnostic at once, by the rules' own examples. */
const everything = Object.values(RULE_EXAMPLES).flatMap((example) => check(exampleFiles(example).wrong).diagnostics);

describe('SARIF', () => {
  const log = toSarif(everything);

  it('is a log of version 2.1.0 with one run of this tool, and every rule of the check', () => {
    expect(JSON.parse(JSON.stringify(log))).toMatchObject({
      version: '2.1.0',
      $schema: expect.stringMatching(/^https:\/\/docs\.oasis-open\.org\/sarif\/sarif\/v2\.1\.0\//),
      runs: [{ tool: { driver: { name: 'remio' } }, columnKind: 'utf16CodeUnits' }],
    });
    const [run] = log.runs;
    expect(run?.tool.driver.rules?.map(({ id }) => id)).toEqual(Object.keys(RULES));
    for (const rule of run?.tool.driver.rules ?? []) {
      // 3.49.9 to 3.49.11: messages with text.
      expect([rule.shortDescription?.text, rule.fullDescription?.text, rule.help?.text]).not.toContain('');
    }
  });

  it('has results that name a rule, a level, a place from 1, and a relative reference', () => {
    const [run] = log.runs;
    expect(run?.results).toHaveLength(everything.length);
    for (const result of run?.results ?? []) {
      // 3.27.6: the index is that of the rule in the tool's list.
      expect(run?.tool.driver.rules?.[result.ruleIndex ?? -1]?.id).toBe(result.ruleId);
      expect(['error', 'warning']).toContain(result.level);
      expect(result.message.text).toMatch(/Fix: /);
      const [location] = result.locations ?? [];
      expect(location?.physicalLocation?.artifactLocation?.uri).toBe('a%20b/x%2C1.yaml');
      const { startLine = 0, startColumn = 0 } = location?.physicalLocation?.region ?? {};
      expect(Math.min(startLine, startColumn)).toBeGreaterThanOrEqual(1);
    }
  });

  it('has fixes that are the changes of --fix', () => {
    const wrong = EXAMPLE_TOPOLOGY.replace('interrupt: 78', 'interrupt: 27');
    const [run] = toSarif(check(wrong).diagnostics).runs;
    const [fix] = run?.results?.[0]?.fixes ?? [];
    const [change] = fix?.artifactChanges ?? [];
    const [replacement, ...more] = change?.replacements ?? [];
    expect(more).toEqual([]);
    const { startLine = 0, startColumn = 0, endColumn = 0 } = replacement?.deletedRegion ?? {};
    const lines = wrong.split('\n');
    const line = lines[startLine - 1] ?? '';
    lines[startLine - 1] =
      line.slice(0, startColumn - 1) + replacement?.insertedContent?.text + line.slice(endColumn - 1);
    expect(lines.join('\n')).toBe(fixText(wrong, 'a b/x,1.yaml', (text) => check(text)).text);
  });

  it('names an absolute path as a file URL, and has no results for a good file', () => {
    const [diagnostic] = check('', '/srv/my topologies/a.yaml').diagnostics;
    const [run] = toSarif(diagnostic === undefined ? [] : [diagnostic]).runs;
    const uri = run?.results?.[0]?.locations?.[0]?.physicalLocation?.artifactLocation?.uri;
    expect(uri).toBe('file:///srv/my%20topologies/a.yaml');
    expect(toSarif([]).runs[0]?.results).toEqual([]);
  });
});

describe('workflow commands of GitHub', () => {
  it('are a line each, with what must be escaped', () => {
    const commands = toGithub(everything).split('\n');
    expect(commands).toHaveLength(everything.length);
    for (const command of commands) {
      expect(command).toMatch(
        /^::(error|warning) file=a b\/x%2C1\.yaml,line=\d+,col=\d+,title=remio%3A [a-z-]+::.+%0Afix: .+$/,
      );
    }
  });

  it('escape percent signs first', () => {
    const [diagnostic] = everything;
    const one = diagnostic === undefined ? [] : [{ ...diagnostic, message: '100%\r\ndone' }];
    expect(toGithub(one)).toContain('::100%25%0D%0Adone%0Afix: ');
  });
});
