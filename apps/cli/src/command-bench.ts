import { CommandError, EXIT, type ExitCode } from './exit-codes.js';

export const BENCHES = ['mmio', 'inproc', 'block'] as const;

/** `remio bench` */
export async function bench(
  what: string,
  _options: { readonly quick: boolean; readonly json: boolean },
): Promise<ExitCode> {
  throw new CommandError(`no benchmark is called ${what}`, EXIT.USAGE);
}
