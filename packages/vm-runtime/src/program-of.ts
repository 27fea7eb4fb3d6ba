import type { GuestProgram, ProgramFactory } from '@remio/guest';
import type { Vm } from '@remio/topology';

/** Built-in programs by name, made from `program.options`. */
export type ProgramTable = Readonly<Record<string, (options: object) => GuestProgram>>;

/**
 * The program of a VM: a built-in one, or the default export of a user's module.
 * @throws Error that says what is missing
 */
export async function programOf(vm: Vm, table: ProgramTable): Promise<GuestProgram> {
  const { kind, name, options } = vm.program;
  if (kind === 'module') {
    const module = (await import(name)) as { readonly default?: ProgramFactory };
    if (typeof module.default !== 'function') throw new Error(`${name} has no default export that makes a program`);
    return module.default(options);
  }
  const make = Object.hasOwn(table, name) ? table[name] : undefined;
  if (make === undefined) throw new Error(`program ${name} of VM ${vm.name} does not run in this process`);
  return make(options as object);
}
