import type { SourceRow, SqlValue } from '../values.js';

/** Makes the row of these values: a plain object with the columns' names, in their order. */
export type RowMaker = (cells: readonly SqlValue[]) => SourceRow;

/** Above this many, V8 makes such objects one property after the other anyway. */
const MAX_COMPILED_COLUMNS = 500;
/** Sets of columns whose makers are kept: an application has a few. */
const MAX_KEPT_MAKERS = 256;

const makers = new Map<string, RowMaker>();

/**
 * The maker of rows with these columns, or with those of them that are wanted. One that is compiled for them takes a third
 * of the time of one that goes over their names; where code may not be made of text
 * (`--disallow-code-generation-from-strings`), it goes over the names.
 *
 * @param wanted a 1 for each column that rows are to have; null for all.
 */
export function rowMaker(columns: readonly string[], wanted: Uint8Array | null = null): RowMaker {
  const places = columns
    .map((name, cell) => ({ name, cell }))
    .filter(({ cell }) => wanted === null || wanted[cell] === 1);
  const id = JSON.stringify(places);
  let maker = makers.get(id);
  if (!maker) {
    maker = (places.length <= MAX_COMPILED_COLUMNS ? compiled(places) : null) ?? general(places);
    if (makers.size >= MAX_KEPT_MAKERS) makers.clear();
    makers.set(id, maker);
  }
  return maker;
}

/** A column of the rows that are made, and which of a record's values is its own. */
interface Place {
  readonly name: string;
  readonly cell: number;
}

function compiled(places: readonly Place[]): RowMaker | null {
  const properties = places.map(({ name, cell }) => {
    const quoted = JSON.stringify(name);
    // As a plain key of a literal this name would set the prototype.
    return `${name === '__proto__' ? `[${quoted}]` : quoted}: cells[${cell}]`;
  });
  try {
    // oxlint-disable-next-line typescript/no-implied-eval -- only names are in it, quoted as JSON, which is JavaScript too
    return new Function('cells', `return { ${properties.join(', ')} };`) as RowMaker;
  } catch (error) {
    if (error instanceof EvalError) return null;
    throw error;
  }
}

function general(places: readonly Place[]): RowMaker {
  return (cells) => {
    const row: Record<string, SqlValue> = {};
    for (let i = 0; i < places.length; i++) {
      const { name, cell } = places[i]!;
      if (name === '__proto__') defineOwn(row, name, cells[cell]!);
      else row[name] = cells[cell]!;
    }
    return row;
  };
}

/** An assignment to this name would set the prototype. */
function defineOwn(row: object, name: string, value: SqlValue): void {
  Object.defineProperty(row, name, { value, enumerable: true, configurable: true, writable: true });
}
