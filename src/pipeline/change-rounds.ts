import type { TableCheckpoint } from '../cache/catalog.js';
import type { EncodedChanges, PreparedTable } from '../cache/generation-writer.js';
import type { TablePlan } from '../source/plan.js';
import type { EncodedRound, FollowedTable } from './messages.js';
import { refuseRejected, type SyncContext } from './table-sync.js';

/** A table on its way through the rounds. */
interface Follower {
  readonly plan: TablePlan;
  readonly table: PreparedTable;
  /** Where it stands in its logs behind the rounds that were read. */
  position: RoundPosition;
  /** What was committed last, or null once it is to be read in full. */
  checkpoint: TableCheckpoint | null;
}

interface RoundPosition {
  readonly version: number;
  readonly scopeVersions: readonly number[];
}

/** A round that is being read, of those followers that had changes to come. */
interface Reading {
  readonly of: readonly Follower[];
  readonly round: Promise<EncodedRound>;
}

/**
 * Brings tables up to date by their change logs, in rounds. A round is of one snapshot of the source and one
 * transaction of the cache: what it holds of several tables becomes visible together. It is as large as a page may be.
 * The next one is read while a round is being committed.
 *
 * Goes on until the changes are there that stood in the logs as the sync began; a busy source is never caught up with.
 *
 * @returns the tables' checkpoints, in order: null for a table that is to be read in full, because it has more changes
 * than can be told or its log is not the one any more that the sync has seen.
 */
export async function followChanges(
  context: SyncContext,
  plans: readonly TablePlan[],
  tables: readonly PreparedTable[],
): Promise<(TableCheckpoint | null)[]> {
  const followers = tables.map((table, i): Follower => {
    const { checkpoint } = table;
    const scopeVersions = checkpoint.scopes.map(({ version }) => version);
    const position = { version: checkpoint.log!.version, scopeVersions };
    return { plan: plans[i]!, table, position, checkpoint };
  });
  const readsAhead = 2 * context.bounds.maxBytes <= context.maxBytesInFlight;
  let reading = readRound(context, followers);
  while (reading !== null) {
    const { of, round } = reading;
    const { changes, retries, sourceRows } = await round;
    context.onRetries(retries);
    context.onSourceRows(sourceRows);
    const told: Told[] = [];
    for (const [at, change] of changes.entries()) {
      const follower = of[at]!;
      if (change) {
        const { version, scopeVersions } = change;
        follower.position = { version, scopeVersions };
        told.push({ follower, change });
      } else follower.checkpoint = null;
    }
    for (const { follower, change } of told)
      refuseRejected(context, follower.plan, change.rejected);
    const ahead = readsAhead ? readRound(context, followers) : null;
    // Where the commit fails, nobody waits for it.
    ahead?.round.catch(() => undefined);
    await applyRound(context, told);
    reading = ahead ?? readRound(context, followers);
  }
  return followers.map(({ checkpoint }) => checkpoint);
}

/** Asks for the next round, or tells by null that none is to come. */
function readRound(context: SyncContext, followers: readonly Follower[]): Reading | null {
  const of = followers.filter(
    ({ table, position, checkpoint }) => checkpoint !== null && isBehind(table, position),
  );
  if (of.length === 0) return null;
  context.throwIfAborted();
  const { pool, source, bounds } = context;
  return { of, round: pool.read('changes', { source, tables: of.map(followed), bounds }) };
}

/** Changes of a table that a round has. */
interface Told {
  readonly follower: Follower;
  readonly change: EncodedChanges;
}

async function applyRound(context: SyncContext, told: readonly Told[]): Promise<void> {
  const { pool, generation, maxLossShare } = context;
  context.throwIfAborted();
  const { checkpoints } = await pool.write(
    'apply',
    {
      generation,
      changes: told.map(({ follower, change }) => ({ ...change, rowsBefore: follower.table.rows })),
      maxLossShare,
    },
    told.flatMap(({ change: { batch } }) => [batch.arena, batch.spans]),
  );
  for (const [at, { follower, change }] of told.entries()) {
    follower.checkpoint = checkpoints[at]!;
    const { batch, rejected, removed } = change;
    context.onBatch(
      follower.plan.name,
      batch.count + rejected.length + removed.length,
      batch.bytes,
    );
  }
}

/** Whether changes that stood in the logs as the sync began are still to come. */
function isBehind({ follows }: PreparedTable, { version, scopeVersions }: RoundPosition): boolean {
  return version < follows!.upTo || follows!.scopes.some(({ upTo }, i) => scopeVersions[i]! < upTo);
}

function followed({ plan, table, position }: Follower): FollowedTable {
  const { id, follows, checkpoint } = table;
  const { version, scopeVersions } = position;
  return {
    plan,
    tableId: id,
    own: { log: follows!.log, logId: checkpoint.log!.id, after: version },
    scopes: follows!.scopes.map(({ log }, i) => ({
      log,
      logId: checkpoint.scopes[i]!.id,
      after: scopeVersions[i]!,
    })),
  };
}
