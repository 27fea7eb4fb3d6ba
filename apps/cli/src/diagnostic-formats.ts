import { isAbsolute, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type Diagnostic, RULES, type RuleId } from '@remio/topology';
import type { Log, ReportingDescriptor, Result } from 'sarif';

const ruleIds = Object.keys(RULES) as readonly RuleId[];

/** Diagnostics as SARIF 2.1.0, which editors and code-scanning services read. */
export const toSarif = (diagnostics: readonly Diagnostic[]): Log => ({
  version: '2.1.0',
  $schema: 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json',
  runs: [
    {
      tool: { driver: { name: 'remio', version: '0.1.0', rules: ruleIds.map(descriptor) } },
      columnKind: 'utf16CodeUnits',
      results: diagnostics.map(result),
    },
  ],
});

const descriptor = (id: RuleId): ReportingDescriptor => ({
  id,
  shortDescription: { text: RULES[id].says },
  fullDescription: { text: RULES[id].why },
  help: { text: `${RULES[id].says} ${RULES[id].why} (remio explain ${id})` },
});

function result({ severity, rule, file, place, path, message, fix, edits }: Diagnostic): Result {
  const artifactLocation = { uri: uriOf(file) };
  const replacements = (edits ?? []).map(({ from, to, text }) => ({
    deletedRegion: { startLine: from.line, startColumn: from.column, endLine: to.line, endColumn: to.column },
    insertedContent: { text },
  }));
  return {
    ruleId: rule,
    ruleIndex: ruleIds.indexOf(rule),
    level: severity,
    message: { text: `${message}. Fix: ${fix}.` },
    locations: [
      {
        physicalLocation: { artifactLocation, region: { startLine: place.line, startColumn: place.column } },
        ...(path === '' ? {} : { logicalLocations: [{ fullyQualifiedName: path }] }),
      },
    ],
    ...(replacements.length === 0
      ? {}
      : { fixes: [{ description: { text: fix }, artifactChanges: [{ artifactLocation, replacements }] }] }),
  };
}

/** A relative path as a relative reference, an absolute one as a file URL. */
const uriOf = (file: string): string =>
  isAbsolute(file) ? pathToFileURL(file).href : file.split(sep).map(encodeURIComponent).join('/');

/** Diagnostics as workflow commands: GitHub shows them at their lines in a change. */
export const toGithub = (diagnostics: readonly Diagnostic[]): string =>
  diagnostics
    .map(({ severity, rule, file, place, message, fix }) => {
      const title = property(`remio: ${rule}`);
      return `::${severity} file=${property(file)},line=${place.line},col=${place.column},title=${title}::${data(`${message}\nfix: ${fix}`)}`;
    })
    .join('\n');

const data = (text: string): string => text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');

const property = (text: string): string => data(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
