import type { CursorPosition } from '../cache/catalog.js';
import type { Query, SourceConnection } from '../source/connection.js';
import { lookAtCursors } from '../source/cursor-look.js';
import { onlyKeys, readCursorPage, type CursorScan } from '../source/cursor-rows.js';
import { cursorStart } from '../source/cursor-start.js';
import type { PageBounds } from '../source/page.js';
import { readPageWithin } from '../source/page-reader.js';
import type { PlanCursor, TablePlan } from '../source/plan.js';
import { BatchBuilder } from '../transform/batch.js';
import type { Checksum } from '../transform/checksum.js';
import { decodeKey } from '../transform/key-codec.js';
import type { Cell } from '../values.js';
import { keysWithoutRows } from './change-keys.js';
import { encodedPage } from './encoded-page.js';
import type { CursorTable, EncodedCursorLook, EncodedPage, EncodedStep } from './messages.js';
import { decodePosition, decodeValue, encodePosition, encodeValue } from './position.js';

/** How the cursors of plans stand, before any of their rows are read. */
export async function lookAt(
  query: Query,
  plans: readonly TablePlan[],
): Promise<EncodedCursorLook[]> {
  const looks = await lookAtCursors(query, plans);
  return looks.map(({ last, hasNulls, indexed }, i) => ({
    table: plans[i]!.name,
    last: encodeValue(last),
    hasNulls,
    indexed,
    ...(startAt(last, plans[i]!.cursor!) ?? { from: null, problem: null }),
  }));
}

/**
 * Reads the rounds of tables one after the other, as far as they fit the bounds together.
 *
 * @param query asks within one snapshot.
 */
export async function readCursorSteps(
  connection: SourceConnection,
  query: Query,
  tables: readonly CursorTable[],
  bounds: PageBounds,
  checksum: Checksum,
): Promise<EncodedStep[]> {
  const steps: EncodedStep[] = [];
  let { maxRows, maxBytes } = bounds;
  for (const table of tables) {
    let { cursor } = table;
    while (cursor.round !== null && maxRows > 0 && maxBytes > 0) {
      const left = { ...bounds, maxRows, maxBytes };
      const { step, bytes } = await readStep(
        connection,
        query,
        { ...table, cursor },
        left,
        checksum,
      );
      steps.push(step);
      // A page that did not end its stage was as large as may be.
      if (step.cursor.round?.stages.length === cursor.round.stages.length) return steps;
      cursor = step.cursor;
      maxRows -= step.rowsRead;
      maxBytes -= bytes;
    }
  }
  return steps;
}

async function readStep(
  connection: SourceConnection,
  query: Query,
  { plan, tableId, cursor }: CursorTable,
  bounds: PageBounds,
  checksum: Checksum,
): Promise<{ readonly step: EncodedStep; readonly bytes: number }> {
  const round = cursor.round!;
  const scan: CursorScan = {
    stages: round.stages,
    position: decodePosition(round.position),
    from: decodeValue(cursor.from),
    upTo: decodeValue(round.upTo),
    last: decodeValue(round.last),
  };
  const builder = new BatchBuilder(plan, checksum);
  const page = await readCursorPage(connection, query, plan, scan, bounds, builder);
  const batch = builder.finish();
  const step: EncodedStep = {
    tableId,
    batch,
    removed: keysWithoutRows(page.gone, batch),
    rejected: page.rejected,
    rowsRead: page.rows,
    sourceRows: page.sourceRows,
    cursor: { ...nextPosition(plan, cursor, page.scan), step: cursor.step + 1 },
  };
  return { step, bytes: page.bytes };
}

/** The position behind a page. It passes no value but those whose rows were all read. */
function nextPosition(plan: TablePlan, cursor: CursorPosition, scan: CursorScan): CursorPosition {
  if (scan.stages.length > 0) {
    const round = {
      stages: scan.stages,
      position: encodePosition(scan.position),
      upTo: encodeValue(scan.upTo),
      last: encodeValue(scan.last),
    };
    return { ...cursor, round };
  }
  const start = startAt(scan.last, plan.cursor!);
  // With a problem this stays good to begin from, only further back.
  const from = start === null || start.problem !== null ? cursor.from : start.from;
  return { ...cursor, from, problem: start?.problem ?? null, round: null };
}

/** Where a round begins behind one that ended at `last`; null where there was no value to end at. */
function startAt(last: Cell, cursor: PlanCursor): Pick<CursorPosition, 'from' | 'problem'> | null {
  if (last === null) return null;
  const { from, problem } = cursorStart(last, cursor);
  return { from: encodeValue(from), problem };
}

/** Reads rows by their keys, behind a position: see {@link onlyKeys}. */
export async function readRowsByKey(
  connection: SourceConnection,
  query: Query,
  plan: TablePlan,
  keys: readonly Uint8Array[],
  position: Uint8Array | null,
  bounds: PageBounds,
  checksum: Checksum,
): Promise<Omit<EncodedPage, 'retries'>> {
  const only = onlyKeys(
    plan,
    keys.map((key) => decodeKey(key, plan.key.length)),
  );
  const builder = new BatchBuilder(plan, checksum);
  const start = decodePosition(position);
  const limited = { ...bounds, maxRows: Math.min(bounds.maxRows, keys.length + 1), only };
  const page = await readPageWithin(query, connection, plan, start, limited, builder);
  return encodedPage(page, builder);
}
