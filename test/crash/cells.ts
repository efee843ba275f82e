import type Database from 'libsql';

/** One row of the source: each cell, and the whole, as text that is equal for equal values. */
export interface SourceRow {
  readonly key: string;
  readonly cells: readonly string[];
  /** What `cells` are, in one text. */
  readonly row: string;
}

/**
 * The rows that a statement gives, by SQLite's own account of them: `typeof` and `hex`, not the driver's values.
 *
 * @param from what follows `SELECT …`, order included.
 * @param key positions in `columns` of the key; with none, the rowid is the key.
 */
export function sourceRows(
  database: InstanceType<typeof Database>,
  columns: readonly string[],
  from: string,
  key: readonly number[],
): SourceRow[] {
  const list = [...columns, ...(key.length === 0 ? ['rowid'] : [])]
    .map((name) => `typeof("${name}"), "${name}", hex(CAST("${name}" AS BLOB))`)
    .join(', ');
  const statement = database.prepare(`SELECT ${list} ${from}`).raw();
  statement.safeIntegers(true);
  return (statement.all() as unknown as unknown[][]).map((values) => {
    const all: string[] = [];
    for (let i = 0; i < values.length; i += 3) {
      all.push(sourceCell(String(values[i]), values[i + 1], String(values[i + 2])));
    }
    const cells = all.slice(0, columns.length);
    const keyCells = key.length === 0 ? all.slice(-1) : key.map((at) => all[at]!);
    return { key: encodeKey(keyCells), cells, row: cells.join(' ') };
  });
}

function sourceCell(type: string, value: unknown, hex: string): string {
  switch (type) {
    case 'null':
      return 'n';
    case 'integer':
      return `i${value as bigint}`;
    case 'real':
      return realCell(value as number);
    default:
      return `${type === 'text' ? 't' : 'b'}${hex.toLowerCase()}`;
  }
}

/** An integral REAL equals the INTEGER of the same value. */
function realCell(value: number): string {
  return Number.isSafeInteger(value) ? `i${BigInt(value)}` : `r${value}`;
}

/** A stored row: a msgpack array, decoded here by hand (https://github.com/msgpack/msgpack/blob/master/spec.md). */
export function storedCells(bytes: Buffer): string[] {
  let at = 0;
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new Error('the row is cut short');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const head = take(1)[0]!;
  const width = head === 0xdc ? take(2).readUInt16BE() : head & 0x0f;
  const cells: string[] = [];
  for (let i = 0; i < width; i++) cells.push(storedCell(take));
  if (at !== bytes.length) throw new Error(`${bytes.length - at} bytes follow the row`);
  return cells;
}

function storedCell(take: (length: number) => Buffer): string {
  const tag = take(1)[0]!;
  if (tag < 0x80) return `i${tag}`;
  if (tag >= 0xe0) return `i${tag - 0x100}`;
  if (tag >= 0xa0 && tag < 0xc0) return `t${take(tag & 0x1f).toString('hex')}`;
  switch (tag) {
    case 0xc0:
      return 'n';
    case 0xc4:
      return `b${take(take(1)[0]!).toString('hex')}`;
    case 0xc5:
      return `b${take(take(2).readUInt16BE()).toString('hex')}`;
    case 0xc6:
      return `b${take(take(4).readUInt32BE()).toString('hex')}`;
    case 0xcb:
      return realCell(take(8).readDoubleBE());
    case 0xcc:
      return `i${take(1).readUInt8()}`;
    case 0xcd:
      return `i${take(2).readUInt16BE()}`;
    case 0xce:
      return `i${take(4).readUInt32BE()}`;
    case 0xcf:
      return `i${take(8).readBigUInt64BE()}`;
    case 0xd0:
      return `i${take(1).readInt8()}`;
    case 0xd1:
      return `i${take(2).readInt16BE()}`;
    case 0xd2:
      return `i${take(4).readInt32BE()}`;
    case 0xd3:
      return `i${take(8).readBigInt64BE()}`;
    case 0xd9:
      return `t${take(take(1)[0]!).toString('hex')}`;
    case 0xda:
      return `t${take(take(2).readUInt16BE()).toString('hex')}`;
    case 0xdb:
      return `t${take(take(4).readUInt32BE()).toString('hex')}`;
    default:
      throw new Error(`0x${tag.toString(16)} begins no value`);
  }
}

/** The key that a row with these key cells must have in the cache, as hex. No NULLs, no numbers beyond 2^53. */
export function encodeKey(cells: readonly string[]): string {
  return cells.map((cell, i) => keyComponent(cell, i === cells.length - 1)).join('');
}

/** What an index entry for these cells begins with behind its index's number, as hex. None of them is long. */
export function encodeIndexPrefix(cells: readonly string[]): string {
  return cells.map((cell) => keyComponent(cell, false)).join('');
}

function keyComponent(cell: string, last: boolean): string {
  const body = cell.slice(1);
  switch (cell[0]) {
    case 'n':
      return '05';
    case 't':
    case 'b': {
      const escaped = last
        ? body
        : `${body.replace(/(..)/g, (byte) => (byte === '00' ? '00ff' : byte))}00`;
      return `${cell.startsWith('t') ? '20' : '30'}${escaped}`;
    }
    default: {
      const bytes = Buffer.alloc(8);
      bytes.writeDoubleBE(Number(body));
      if (bytes[0]! & 0x80) for (let i = 0; i < 8; i++) bytes[i] = ~bytes[i]!;
      else bytes[0]! |= 0x80;
      return `10${bytes.toString('hex')}`;
    }
  }
}
