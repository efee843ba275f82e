import { CacheError } from '../errors.js';
import type { PlanIndex } from '../source/plan.js';
import type { SqlValue } from '../values.js';
import type { BytesDatabase, ReadTransaction } from './environment.js';
import { compareIndexed, isInexact, leadOf, rangeOfValues, wholeIndex } from './index-key.js';

/** Which rows of an index to read. A bound is a value of the column behind `prefix`, or of it and those that follow. */
export interface IndexScanRange {
  readonly prefix?: readonly SqlValue[];
  readonly gt?: SqlValue | readonly SqlValue[];
  readonly gte?: SqlValue | readonly SqlValue[];
  readonly lt?: SqlValue | readonly SqlValue[];
  readonly lte?: SqlValue | readonly SqlValue[];
  readonly limit?: number;
  readonly reverse?: boolean;
}

/** An index as one state of the cache has it. */
export interface ScannedIndex {
  readonly index: PlanIndex;
  readonly number: number;
  readonly entries: BytesDatabase;
  readonly transaction: ReadTransaction | undefined;
  /** The row with this key, which an entry names: where rows are checked, the entry must be the row's own. */
  readonly read: (rowKey: Buffer, entryKey: Buffer) => IndexedRow;
}

/** A row that was found by an index. Its key is valid until the next one is read. */
export interface IndexedRow {
  readonly key: Buffer;
  readonly cells: readonly SqlValue[];
}

/**
 * The rows of a range of an index, in its order, then in that of their keys; `reverse` turns both around.
 *
 * Entries of values too long for the index to tell apart are held together, with what is indexed of their rows, and put
 * in order by that: memory is bounded by how many rows share their first {@link LEAD_BYTES} indexed bytes.
 *
 * @throws {CacheError} `KEY_INVALID` when the range does not fit the index.
 */
export function* scanIndex(scanned: ScannedIndex, range: IndexScanRange): Generator<IndexedRow> {
  const { index, entries, transaction, read } = scanned;
  const bounds = boundsOf(scanned, range);
  const { limit = Infinity, reverse = false } = range;
  const [start, end] = reverse ? [bounds.end, bounds.start] : [bounds.start, bounds.end];
  let left = limit;
  let like: Like[] = [];
  let lead: Buffer | null = null;

  const inOrder = function* (): Generator<IndexedRow> {
    like.sort((a, b) => compareIndexed(index, a.values, b.values) || a.rowKey.compare(b.rowKey));
    if (reverse) like.reverse();
    for (const { rowKey, entryKey } of like) yield read(rowKey, entryKey);
    like = [];
  };

  const found = entries.getRange({ start, end, reverse, ...(transaction ? { transaction } : {}) });
  for (const { key, value } of found) {
    if (left <= 0) return;
    if (lead !== null && !leadOf(key).equals(lead)) {
      lead = null;
      for (const row of inOrder()) {
        if (left-- <= 0) return;
        yield row;
      }
      if (left <= 0) return;
    }
    const inexact = isInexact(key, value);
    // An exact one waits too where others of its lead do: it may stand behind or before them.
    if (!inexact && lead === null) {
      left--;
      yield read(value, key);
      continue;
    }
    lead ??= Buffer.from(leadOf(key));
    const rowKey = Buffer.from(value);
    const entryKey = Buffer.from(key);
    const { cells } = read(rowKey, entryKey);
    const values = index.columns.map((column) => cells[column]!);
    if (!inexact || bounds.admit(values)) like.push({ values, rowKey, entryKey });
  }
  for (const row of inOrder()) {
    if (left-- <= 0) return;
    yield row;
  }
}

interface Like {
  readonly values: readonly SqlValue[];
  readonly rowKey: Buffer;
  readonly entryKey: Buffer;
}

interface ScanBounds {
  readonly start: Buffer;
  readonly end: Buffer;
  /** Whether an inexact entry's values lie within. Others do by their place. */
  readonly admit: (values: readonly SqlValue[]) => boolean;
}

interface Bound {
  readonly values: readonly SqlValue[];
  readonly inclusive: boolean;
}

function boundsOf({ index, number }: ScannedIndex, range: IndexScanRange): ScanBounds {
  const prefix = range.prefix ?? [];
  refuseTooMany(index, prefix.length);
  const whole = prefix.length > 0 ? { values: prefix, inclusive: true } : null;
  const lower = bound(index, prefix, range.gte, true) ?? bound(index, prefix, range.gt, false);
  const upper = bound(index, prefix, range.lte, true) ?? bound(index, prefix, range.lt, false);
  // What is less stands behind where the column descends.
  const reversed = (lower ?? upper) !== null && index.descending[prefix.length] === true;
  const first = (reversed ? upper : lower) ?? whole;
  const last = (reversed ? lower : upper) ?? whole;

  const all = wholeIndex(number);
  const from = first && rangeOfValues(index, number, first.values);
  const to = last && rangeOfValues(index, number, last.values);
  return {
    start: !from ? all.start : first!.inclusive || from.inexact ? from.start : from.end,
    end: !to ? all.end : last!.inclusive || to.inexact ? to.end : to.start,
    admit: (values) => {
      const behind = first ? compareIndexed(index, values, first.values) : 1;
      const before = last ? compareIndexed(index, values, last.values) : -1;
      return (
        (behind > 0 || (behind === 0 && first!.inclusive)) &&
        (before < 0 || (before === 0 && last!.inclusive))
      );
    },
  };
}

function bound(
  index: PlanIndex,
  prefix: readonly SqlValue[],
  argument: SqlValue | readonly SqlValue[] | undefined,
  inclusive: boolean,
): Bound | null {
  if (argument === undefined) return null;
  const values = Array.isArray(argument)
    ? (argument as readonly SqlValue[])
    : [argument as SqlValue];
  const columns = index.descending.slice(prefix.length, prefix.length + values.length);
  refuseTooMany(index, prefix.length + values.length);
  if (values.length === 0 || new Set(columns).size > 1) {
    throw new CacheError(
      'KEY_INVALID',
      values.length === 0
        ? `A bound in the index ${JSON.stringify(index.name)} has no values.`
        : `A bound in the index ${JSON.stringify(index.name)} goes over columns that ascend and columns that descend.`,
      {
        context: { index: index.name },
        hint: 'Give the columns before as `prefix`, and bound columns that go the same way.',
      },
    );
  }
  return { values: [...prefix, ...values], inclusive };
}

function refuseTooMany(index: PlanIndex, values: number): void {
  if (values <= index.columns.length) return;
  throw new CacheError(
    'KEY_INVALID',
    `The index ${JSON.stringify(index.name)} takes 1 to ${index.columns.length} values, not ${values}.`,
    { context: { index: index.name } },
  );
}
