import { writeFileSync } from 'node:fs';
import { layOut, pictureOf, renderMermaid, renderSvg } from '@remio/graph';
import { BUILTIN_PROGRAMS, parseTopology, placeOfTopology, renderDiagnostics } from '@remio/topology';
import { CommandError, EXIT, type ExitCode } from './exit-codes.js';
import { readInput } from './input-file.js';

export interface GraphOptions {
  readonly output?: string;
  readonly format: 'svg' | 'mermaid';
  readonly mermaid: boolean;
}

/** `remio graph`: draws a topology. The same topology gives the same bytes. */
export async function graph(file: string, options: GraphOptions): Promise<ExitCode> {
  const text = readInput(file, 'a topology');
  // Images and modules need not be here: a picture only names them.
  const { topology, diagnostics } = parseTopology(text, file, {
    ...placeOfTopology(file),
    files: { imageProblem: () => undefined, directoryProblem: () => undefined, exists: () => true },
    programs: BUILTIN_PROGRAMS,
  });
  if (topology === undefined) throw new CommandError(renderDiagnostics(diagnostics, text), EXIT.USAGE);
  const picture = pictureOf(topology);
  const mermaid = options.mermaid || options.format === 'mermaid';
  const drawn = mermaid ? renderMermaid(picture) : renderSvg(await layOut(picture));
  if (options.output === undefined) {
    // The process ends soon: what a pipe has not taken by then would be lost.
    await new Promise<void>((done) => process.stdout.write(drawn, () => done()));
    return EXIT.OK;
  }
  try {
    writeFileSync(options.output, drawn);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CommandError(`the picture cannot be written: ${reason}`, EXIT.ENVIRONMENT);
  }
  return EXIT.OK;
}
