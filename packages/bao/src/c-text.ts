/** A C initializer, to be printed. */
export type Initializer =
  | { readonly kind: 'expression'; readonly text: string }
  | { readonly kind: 'struct'; readonly fields: readonly Field[] }
  | { readonly kind: 'array'; readonly type: string; readonly items: readonly Initializer[]; readonly inline?: true };

/** A designated field, and the comment at its end. */
export interface Field {
  readonly name: string;
  readonly value: Initializer;
  readonly comment?: string;
}

const INDENT = '    ';

/** Prints an initializer that starts at a given depth, in Bao's style. */
export function printInitializer(initializer: Initializer, depth: number): string {
  switch (initializer.kind) {
    case 'expression':
      return initializer.text;
    case 'struct':
      return block(initializer.fields.map(printField(depth + 1)), depth);
    case 'array': {
      const head = `(${initializer.type}[]) `;
      if (initializer.inline)
        return `${head}{ ${initializer.items.map((item) => printInitializer(item, 0)).join(', ')} }`;
      const pad = INDENT.repeat(depth + 1);
      return (
        head +
        block(
          initializer.items.map((item) => `${pad}${printInitializer(item, depth + 1)},`),
          depth,
        )
      );
    }
  }
}

const printField =
  (depth: number) =>
  ({ name, value, comment }: Field): string => {
    const pad = INDENT.repeat(depth);
    // The comment of a block stands above it: at its end nobody would look.
    if (value.kind === 'expression' || (value.kind === 'array' && value.inline)) {
      return `${pad}.${name} = ${printInitializer(value, depth)},${comment === undefined ? '' : ` /* ${comment} */`}`;
    }
    const above = comment === undefined ? '' : `${pad}/* ${comment} */\n`;
    return `${above}${pad}.${name} = ${printInitializer(value, depth)},`;
  };

const block = (lines: readonly string[], depth: number): string =>
  lines.length === 0 ? '{ }' : `{\n${lines.join('\n')}\n${INDENT.repeat(depth)}}`;

export const expression = (text: string): Initializer => ({ kind: 'expression', text });
export const hexadecimal = (value: bigint): Initializer => expression(`0x${value.toString(16)}`);
export const decimal = (value: number | bigint): Initializer => expression(String(value));
export const struct = (...fields: readonly Field[]): Initializer => ({ kind: 'struct', fields });
export const array = (type: string, items: readonly Initializer[]): Initializer => ({ kind: 'array', type, items });

/** An array of numbers, on one line. */
export const numbers = (type: string, values: readonly number[]): Initializer => ({
  kind: 'array',
  type,
  items: values.map(decimal),
  inline: true,
});

export const field = (name: string, value: Initializer, comment?: string): Field => ({
  name,
  value,
  ...(comment === undefined ? {} : { comment }),
});
