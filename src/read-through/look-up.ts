import type { Query, SourceConnection } from '../source/connection.js';
import type { PageBounds } from '../source/page.js';
import { readInSnapshot, readPageWithin } from '../source/page-reader.js';
import type { TablePlan } from '../source/plan.js';
import { BatchBuilder, SPAN_BYTES, type Batch } from '../transform/batch.js';
import type { Checksum } from '../transform/checksum.js';
import { encodedPage } from '../pipeline/encoded-page.js';
import { decodePosition } from '../pipeline/position.js';
import type { EncodedPage } from '../pipeline/messages.js';
import { anyKey, KEYS_PER_STATEMENT } from '../verify/key-condition.js';
import { keyValues } from '../verify/row-keys.js';

/**
 * The plan for the rows of some keys, in scope or not: a row outside of a limit, or one that refers to such a row, is
 * there for who asks for it. One that is deleted softly is not.
 */
function planForKeys(plan: TablePlan, keys: readonly Uint8Array[]): TablePlan {
  const known = keys.flatMap((key) => keyValues(plan, key) ?? []);
  const condition = anyKey(plan, known);
  return {
    ...plan,
    limit: null,
    scopes: [],
    order: plan.order.slice(plan.limit === null ? 0 : 1),
    filter: plan.alive === null ? condition : `(${condition}) AND (${plan.alive})`,
  };
}

/** A full page's would mostly be empty. It grows where it has to. */
const ARENA_BYTES = 32 * 1024;

function smallMemory(): Pick<Batch, 'arena' | 'spans'> {
  const spans = new ArrayBuffer((KEYS_PER_STATEMENT + 1) * SPAN_BYTES);
  return { arena: new ArrayBuffer(ARENA_BYTES), spans };
}

/** Reads the rows that there are of some keys, behind a position: in one round trip, where no row is out of the ordinary. */
export async function lookUpRows(
  connection: SourceConnection,
  plan: TablePlan,
  keys: readonly Uint8Array[],
  position: Uint8Array | null,
  bounds: PageBounds,
  checksum: Checksum,
  signal: AbortSignal,
): Promise<Omit<EncodedPage, 'retries'>> {
  const scoped = planForKeys(plan, keys);
  const start = decodePosition(position);
  // One more than there can be, so that a whole answer says that nothing lies behind it.
  const asked = { ...bounds, maxRows: Math.min(bounds.maxRows, keys.length + 1) };
  const read = async (query: Query, fitting: PageBounds): Promise<Omit<EncodedPage, 'retries'>> => {
    const builder = new BatchBuilder(plan, checksum, smallMemory());
    const page = await readPageWithin(query, connection, scoped, start, fitting, builder, signal);
    return encodedPage(page, builder);
  };
  if (connection.stored) return await readInSnapshot(connection, asked, read, signal);
  return await read(connection.query, asked);
}
