import type { SourceRow, SqlValue } from '../values.js';

/** Makes the row of these values: a plain object with the columns' names, in their order. */
export type RowMaker = (cells: readonly SqlValue[]) => SourceRow;

/** Above this many, V8 makes such objects one property after the other anyway. */
const MAX_COMPILED_COLUMNS = 500;
/** Sets of columns whose makers are kept: an application has a few. */
const MAX_KEPT_MAKERS = 256;

const makers = new Map<string, RowMaker>();

/**
 * The maker of rows with these columns. One that is compiled for them takes a third of the time of one that goes over
 * their names; where code may not be made of text (`--disallow-code-generation-from-strings`), it goes over the names.
 */
export function rowMaker(columns: readonly string[]): RowMaker {
  const names = JSON.stringify(columns);
  let maker = makers.get(names);
  if (!maker) {
    maker = (columns.length <= MAX_COMPILED_COLUMNS ? compiled(columns) : null) ?? general(columns);
    if (makers.size >= MAX_KEPT_MAKERS) makers.clear();
    makers.set(names, maker);
  }
  return maker;
}

function compiled(columns: readonly string[]): RowMaker | null {
  const properties = columns.map((name, i) => {
    const quoted = JSON.stringify(name);
    // As a plain key of a literal this name would set the prototype.
    return `${name === '__proto__' ? `[${quoted}]` : quoted}: cells[${i}]`;
  });
  try {
    // oxlint-disable-next-line typescript/no-implied-eval -- only names are in it, quoted as JSON, which is JavaScript too
    return new Function('cells', `return { ${properties.join(', ')} };`) as RowMaker;
  } catch (error) {
    if (error instanceof EvalError) return null;
    throw error;
  }
}

function general(columns: readonly string[]): RowMaker {
  return (cells) => {
    const row: Record<string, SqlValue> = {};
    for (let i = 0; i < columns.length; i++) {
      const name = columns[i]!;
      if (name === '__proto__') defineOwn(row, name, cells[i]!);
      else row[name] = cells[i]!;
    }
    return row;
  };
}

/** An assignment to this name would set the prototype. */
function defineOwn(row: object, name: string, value: SqlValue): void {
  Object.defineProperty(row, name, { value, enumerable: true, configurable: true, writable: true });
}
