/** Types of the fields of a structure, naturally aligned. */
export type FieldType = 'u16' | 'u32' | 'i32' | 'u64';

const BYTES: Readonly<Record<FieldType, number>> = { u16: 2, u32: 4, i32: 4, u64: 8 };

type ValueOf<Type extends FieldType> = Type extends 'u64' ? bigint : number;

/** Fields of a structure, in order. */
export type StructFields = Readonly<Record<string, FieldType>>;

/** Where the fields of a structure lie. */
export interface Layout<F extends StructFields> {
  /** Bytes. */
  readonly size: number;
  readonly fields: readonly { readonly name: keyof F & string; readonly type: FieldType; readonly offset: number }[];
}

/** The values of a structure's fields; 64 bits are exact. */
export type Struct<F extends StructFields> = { readonly [Name in keyof F]: ValueOf<F[Name]> };

/** The values of a layout's fields. */
export type StructOf<L> = L extends Layout<infer F> ? Struct<F> : never;

/** A structure whose fields follow each other without holes. */
export function layout<const F extends StructFields>(types: F): Layout<F> {
  let offset = 0;
  const fields = Object.entries(types).map(([name, type]) => {
    const field = { name, type, offset };
    offset += BYTES[type];
    return field;
  });
  return { size: offset, fields };
}

/** Reads a structure; all of it lies within `view`. */
export function readStruct<F extends StructFields>(
  { fields }: Layout<F>,
  view: DataView,
  at: number,
  littleEndian = true,
): Struct<F> {
  const values: Record<string, number | bigint> = {};
  for (const { name, type, offset } of fields) values[name] = readField(type, view, at + offset, littleEndian);
  // Every field was set to a value of its type just now.
  return values as Struct<F>;
}

/** Writes a structure; fields that are not given become 0. All of it lies within `view`. */
export function writeStruct<F extends StructFields>(
  { fields }: Layout<F>,
  view: DataView,
  at: number,
  values: Partial<Struct<F>>,
  littleEndian = true,
): void {
  for (const { name, type, offset } of fields) writeField(type, view, at + offset, values[name] ?? 0, littleEndian);
}

/** A structure as bytes, with room after it. */
export function structBytes<F extends StructFields>(
  of: Layout<F>,
  values: Partial<Struct<F>>,
  littleEndian = true,
  room = 0,
): Uint8Array {
  const bytes = new Uint8Array(of.size + room);
  writeStruct(of, new DataView(bytes.buffer), 0, values, littleEndian);
  return bytes;
}

/** A view of the same bytes. */
export const structView = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function readField(type: FieldType, view: DataView, at: number, littleEndian: boolean): number | bigint {
  switch (type) {
    case 'u16':
      return view.getUint16(at, littleEndian);
    case 'u32':
      return view.getUint32(at, littleEndian);
    case 'i32':
      return view.getInt32(at, littleEndian);
    case 'u64':
      return view.getBigUint64(at, littleEndian);
  }
}

function writeField(type: FieldType, view: DataView, at: number, value: number | bigint, littleEndian: boolean): void {
  switch (type) {
    case 'u16':
      return view.setUint16(at, Number(value), littleEndian);
    case 'u32':
      return view.setUint32(at, Number(value), littleEndian);
    case 'i32':
      return view.setInt32(at, Number(value), littleEndian);
    case 'u64':
      return view.setBigUint64(at, BigInt(value), littleEndian);
  }
}
