import { z } from 'zod';

/** Where a console's port leads on the host. Paths are absolute. */
export type LineChoice =
  | { readonly kind: 'pty'; readonly alias: string }
  | { readonly kind: 'listen'; readonly path: string }
  | { readonly kind: 'connect'; readonly path: string }
  | { readonly kind: 'file'; readonly input?: string; readonly output?: string }
  | { readonly kind: 'stdio' };

/** How a topology says where a port leads: exactly one of these; `input` and `output` go together. */
export const lineFields = {
  pty: z.string().optional().describe('A pseudo-terminal; this path, from this file, becomes a link to it'),
  listen: z.string().optional().describe('A Unix socket that is listened on, one client after the other'),
  connect: z.string().optional().describe('A Unix socket that is connected to, again whenever the connection ends'),
  input: z.string().optional().describe('A file that is sent from its start to its end'),
  output: z.string().optional().describe('A file that is appended to'),
  stdio: z.literal(true).optional().describe('Standard input and output of the command'),
};

export type LineFile = z.output<z.ZodObject<typeof lineFields>>;

/** How many ways a line is said to lead. */
export const lineCount = ({ pty, listen, connect, input, output, stdio }: LineFile): number =>
  [pty, listen, connect, input ?? output, stdio].filter((way) => way !== undefined).length;

export const ONE_LINE = 'expected exactly one of pty, listen, connect, stdio, or files (input, output)';

/** Where a line leads that leads one way; undefined if it leads nowhere. */
export function lineOf(line: LineFile, resolve: (path: string) => string): LineChoice | undefined {
  const { pty, listen, connect, input, output, stdio } = line;
  if (pty !== undefined) return { kind: 'pty', alias: resolve(pty) };
  if (listen !== undefined) return { kind: 'listen', path: resolve(listen) };
  if (connect !== undefined) return { kind: 'connect', path: resolve(connect) };
  if (stdio !== undefined) return { kind: 'stdio' };
  if (input === undefined && output === undefined) return undefined;
  return {
    kind: 'file',
    ...(input === undefined ? {} : { input: resolve(input) }),
    ...(output === undefined ? {} : { output: resolve(output) }),
  };
}

/** What a line needs for itself alone; undefined: nothing. */
export function exclusiveOf(line: LineChoice): string | undefined {
  switch (line.kind) {
    case 'pty':
      return line.alias;
    case 'listen':
      return line.path;
    case 'file':
      return line.output;
    case 'stdio':
      return 'standard input and output';
    case 'connect':
      return undefined;
  }
}
