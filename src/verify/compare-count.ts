import type { Query } from '../source/connection.js';
import { readChanges } from '../source/changes.js';
import { logName } from '../source/change-log/layout.js';
import { countRows } from '../source/introspection.js';
import { RowTally } from '../source/row-tally.js';
import { quoteIdentifier } from '../source/sql.js';
import type { PageBounds } from '../source/page.js';
import { BatchBuilder, recordsOf } from '../transform/batch.js';
import { keysWithoutRows } from '../pipeline/change-keys.js';
import type { LookTarget } from './second-look.js';
import type { ComparedCount, LogRef } from './tasks.js';

/** Changes that are looked at to tell how they change the count. */
const MAX_CHANGES = 5000;

const BOUNDS: PageBounds = {
  maxRows: 1000,
  maxBytes: 8 * 1024 * 1024,
  maxRowBytes: 1024 ** 3,
};

/** Counts a table's rows, and in the same snapshot what the changes that the cache does not have yet add to them. */
export async function compareCount(target: LookTarget, log: LogRef | null): Promise<ComparedCount> {
  const { connection, environment, plan, signal } = target;
  return await connection.snapshot(async (query) => {
    const where = plan.filter === null ? '' : ` WHERE ${plan.filter}`;
    const all = await countRows(query, `main.${quoteIdentifier(plan.name)}${where}`);
    const source = Math.min(all, plan.limit?.count ?? all);
    if (log === null) return { source, pendingChanges: null, growth: null };
    const changes = await countChanges(query, log);
    const isExact = plan.limit === null && plan.filter === null && changes <= MAX_CHANGES;
    if (!isExact) return { source, pendingChanges: changes, growth: changes === 0 ? 0 : null };
    environment.refresh();
    return { source, pendingChanges: changes, growth: await growthOf(query, target, log) };
  }, signal);
}

/** Changes that may change the count. */
async function countChanges(query: Query, log: LogRef): Promise<number> {
  const counts = [log.own, ...log.scopes].map(
    ({ log: number, after }) =>
      `(SELECT count(*) FROM main.${logName(number)} WHERE version > ${after})`,
  );
  const [row] = await query(`SELECT max(0, ${counts.join(', ')})`);
  return Number(row![0]);
}

/** How many rows more the cache will have when it has all changes. */
async function growthOf(
  query: Query,
  { connection, rows, checksum, plan }: LookTarget,
  { own }: LogRef,
): Promise<number> {
  let growth = 0;
  for (let { after } = own; ;) {
    const builder = new BatchBuilder(plan, checksum);
    const window = { ...own, after };
    const found = await readChanges(
      connection,
      query,
      plan,
      window,
      BOUNDS,
      builder,
      new RowTally(),
    );
    const batch = builder.finish();
    const arena = Buffer.from(batch.arena);
    for (const { keyStart, valueStart } of recordsOf(batch)) {
      if (!rows.doesExist(arena.subarray(keyStart, valueStart))) growth++;
    }
    for (const key of keysWithoutRows(found.keys, batch)) {
      if (rows.doesExist(Buffer.from(key))) growth--;
    }
    after = found.version;
    if (found.complete) return growth;
  }
}
