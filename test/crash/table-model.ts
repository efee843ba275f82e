import assert from 'node:assert/strict';
import type { TableCheckpoint } from '../../src/cache/catalog.js';
import { encodeIndexPrefix, type SourceRow } from './cells.js';
import type { StoredTable } from './stored-generation.js';

/** How a table is read, as the test understands it. */
export interface TableSpec {
  readonly name: string;
  readonly columns: readonly string[];
  /** Positions in `columns`; none for the rowid. */
  readonly key: readonly number[];
  /** `FROM …` with the order of the scan and its limit. */
  readonly from: string;
  readonly inKeyOrder: boolean;
  /** Positions in `columns` for each index. */
  readonly indexes: readonly (readonly number[])[];
}

type Rows = ReadonlyMap<string, string>;
const NO_ROWS: Rows = new Map();

/**
 * What a table of a generation must be, from sync to sync and kill to kill.
 *
 * `base` are the rows it had as its present sync began. While the table is read, it is the base with the source's
 * first rows over it, exactly as many as the checkpoint says; while it is swept, some of what is too much is gone;
 * complete, it is the source.
 */
export class TableModel {
  readonly spec: TableSpec;
  #base: Rows = NO_ROWS;
  /** When the reading that left the base began: what names a reading, however often it is gone on with. */
  #baseStartedAt: number | null = null;
  #last: TableCheckpoint | null = null;
  #interrupted = false;

  constructor(spec: TableSpec) {
    this.spec = spec;
  }

  /** Rows that an interrupted sync has read, and that the next one must not read again. */
  get rowsKept(): number {
    return this.#interrupted ? (this.#last?.counters.rowsRead ?? 0) : 0;
  }

  /**
   * Holds what is stored against what must be. The source stood still since the sync began.
   *
   * @param unpublished whether its generation is not served: then no sync of it was completed.
   */
  check(stored: StoredTable | undefined, source: readonly SourceRow[], unpublished: boolean): void {
    const { name } = this.spec;
    const checkpoint = stored?.state.checkpoint ?? null;
    if (this.#interrupted && this.#last) {
      const { startedAt, counters } = this.#last;
      assert.equal(
        checkpoint?.startedAt,
        startedAt,
        `${name}: an interrupted sync is gone on from`,
      );
      const rows = checkpoint?.counters.rowsRead ?? 0;
      assert.ok(rows >= counters.rowsRead, `${name}: the checkpoint never moves back`);
    }
    if (!stored) {
      assert.equal(this.#baseStartedAt, null, `${name} is in the catalog`);
      return;
    }
    // A kill right behind a load leaves all of its rows, which are not counted yet, and go before it is repeated.
    const isUncounted = unpublished && checkpoint?.phase === 'reading' && stored.state.rows === 0;
    if (isUncounted && stored.rows.size > 0) {
      assert.equal(checkpoint.counters.rowsRead, 0, `${name}: nothing is counted`);
      assertSameRows(`${name} as it was loaded`, stored.rows, rowsOf(source));
      this.#last = checkpoint;
      this.#interrupted = true;
      return;
    }
    this.checkCounts(stored);
    if (checkpoint === null || checkpoint.startedAt === this.#baseStartedAt) {
      assertSameRows(`${name} before its sync`, stored.rows, this.#base);
    } else if (checkpoint.phase === 'reading') {
      this.#checkReading(stored, checkpoint, source);
    } else if (checkpoint.phase === 'sweeping') {
      this.#checkSweeping(stored, checkpoint, source);
    } else {
      assertSameRows(`${name} complete`, stored.rows, rowsOf(source));
      assert.equal(stored.scratch.size, 0, `${name}: nothing is left of the sync`);
    }
    this.#last = checkpoint;
    this.#interrupted = checkpoint !== null && (unpublished || !checkpoint.settled);
    if (checkpoint?.phase === 'complete') {
      this.#base = stored.rows;
      this.#baseStartedAt = checkpoint.startedAt;
    }
  }

  /** Requires that the table is complete and equals the source. */
  checkComplete(stored: StoredTable | undefined, source: readonly SourceRow[]): void {
    const { name } = this.spec;
    assert.ok(stored, `${name} is in the catalog`);
    assertSameRows(`${name} complete`, stored.rows, rowsOf(source));
    assert.equal(stored.state.checkpoint?.phase, 'complete', `${name} is complete`);
  }

  /** Holds counts and indexes against the rows that are stored. */
  checkCounts(stored: StoredTable): void {
    const { name, indexes } = this.spec;
    assert.equal(stored.state.rows, stored.rows.size, `${name}: the count of rows is right`);
    assert.equal(stored.indexes.length, indexes.length, `${name}: it has its indexes`);
    indexes.forEach((columns, at) => {
      const entries = stored.indexes[at]!;
      assert.equal(
        entries.size,
        stored.rows.size,
        `${name}: index ${at} has an entry for each row`,
      );
      for (const [key, cells] of stored.cells) {
        const entry = encodeIndexPrefix(columns.map((column) => cells[column]!)) + key;
        assert.equal(entries.get(entry), key, `${name}: index ${at} leads to ${key}`);
      }
    });
  }

  #checkReading(
    stored: StoredTable,
    checkpoint: TableCheckpoint,
    source: readonly SourceRow[],
  ): void {
    const { name } = this.spec;
    const seen = seenRows(name, checkpoint, source);
    assertSameRows(
      `${name} after ${seen.length} of ${source.length} rows`,
      stored.rows,
      new Map([...this.#base, ...rowsOf(seen)]),
    );
    const { rowsWritten, rowsUnchanged } = checkpoint.counters;
    assert.equal(rowsWritten + rowsUnchanged, seen.length, `${name}: its counters add up`);
    assert.deepEqual(
      [...stored.scratch].sort(),
      this.#scratchFor(seen, source),
      `${name}: the marks for the sweep`,
    );
  }

  /** In key order, the rows passed by that the source no longer has; otherwise the rows seen. */
  #scratchFor(seen: readonly SourceRow[], source: readonly SourceRow[]): readonly string[] {
    if (this.#base.size === 0) return [];
    if (!this.spec.inKeyOrder) return seen.map((row) => row.key).sort();
    const kept = rowsOf(source);
    const last = seen.at(-1)?.key ?? '';
    return [...this.#base.keys()].filter((key) => !kept.has(key) && key <= last).sort();
  }

  #checkSweeping(
    stored: StoredTable,
    checkpoint: TableCheckpoint,
    source: readonly SourceRow[],
  ): void {
    const { name } = this.spec;
    assert.equal(checkpoint.counters.rowsRead, source.length, `${name} was read to its end`);
    const wanted = rowsOf(source);
    const doomed = new Map([...this.#base].filter(([key]) => !wanted.has(key)));
    const left = new Map([...stored.rows].filter(([key]) => !wanted.has(key)));
    for (const key of left.keys()) assert.ok(doomed.has(key), `${name}: ${key} was there before`);
    assert.equal(
      left.size,
      doomed.size - checkpoint.counters.rowsDeleted,
      `${name}: as many rows are swept as it says`,
    );
    assertSameRows(`${name} in its sweep`, stored.rows, new Map([...wanted, ...left]));
  }
}

/** The rows at or before the checkpoint's position: as many as it counts, and the last of them is where it stands. */
function seenRows(
  name: string,
  checkpoint: TableCheckpoint,
  source: readonly SourceRow[],
): readonly SourceRow[] {
  const { lanes, counters } = checkpoint;
  const [lane] = lanes;
  assert.ok(lane && lanes.length === 1, `${name} is read in one lane, as this model takes it`);
  assert.equal(lane.rowsSeen, counters.rowsRead, `${name}: lane and counters agree`);
  assert.ok(lane.rowsSeen <= source.length, `${name}: no more rows are read than there are`);
  const seen = source.slice(0, lane.rowsSeen);
  const lastKey = lane.lastKey === null ? undefined : Buffer.from(lane.lastKey).toString('hex');
  assert.equal(lastKey, seen.at(-1)?.key, `${name}: the checkpoint stands at the last row`);
  return seen;
}

function rowsOf(rows: readonly SourceRow[]): Map<string, string> {
  return new Map(rows.map(({ key, row }) => [key, row]));
}

function assertSameRows(what: string, actual: Rows, expected: Rows): void {
  for (const [key, row] of expected) assert.equal(actual.get(key), row, `${what}: the row ${key}`);
  for (const key of actual.keys()) assert.ok(expected.has(key), `${what}: ${key} is one too many`);
}
