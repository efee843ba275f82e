import { StorageSyncError } from '../errors.js';
import type { SchemaChange, TableCounters } from '../report.js';
import { foldName } from '../source/introspection.js';
import type { LogState } from '../source/log-state.js';
import type { RejectedRow } from '../source/page.js';
import { refuseLoss } from '../loss-guard.js';
import { cursorIdentity, mayFollowLog, type TablePlan } from '../source/plan.js';
import { recordsOf, SPAN_BYTES, type Batch } from '../transform/batch.js';
import { CHECKSUM_BYTES, type Checksum } from '../transform/checksum.js';
import {
  DATABASES_OF_A_TABLE,
  fitCatalog,
  NEW_LANE,
  newIndexState,
  settleCatalog,
  ZERO_COUNTERS,
  type CursorPosition,
  type LaneBoundary,
  type LaneCheckpoint,
  type LogPosition,
  type SyncRecord,
  type TableCheckpoint,
} from './catalog.js';
import { lentValue, type Environment } from './environment.js';
import { buildIndexes, hasIndexWork, type IndexBuildProgress } from './index-build.js';
import { packMeta } from './record.js';
import { TableIndexes, type UniqueVerdict } from './table-indexes.js';

/** A table as a sync finds it. */
export interface PreparedTable {
  readonly id: number;
  readonly rows: number;
  readonly checkpoint: TableCheckpoint;
  /** True when the checkpoint is that of an interrupted sync. */
  readonly resumed: boolean;
  /** The log whose changes bring the table up to date, or null where it must be read in full. */
  readonly follows: FollowedLog | null;
  /** Where the cursor stands by which the table is brought up to date, or null where it is not. */
  readonly cursor: CursorPosition | null;
  /** True when indexes are to be built or removed: see {@link GenerationWriter.buildIndexes}. */
  readonly indexWork: boolean;
  /** True when it is filled beside what is served, until {@link GenerationWriter.complete}. */
  readonly pending: boolean;
  /** How it differs from the served table whose place it is to take, or null. */
  readonly change: SchemaChange | null;
}

/** Changes of a log behind one version, and up to another at least. */
export interface LogRange {
  readonly log: number;
  readonly after: number;
  readonly upTo: number;
}

/** Which changes bring a table up to date. */
export interface FollowedLog extends LogRange {
  /** Of the tables on which it depends which rows are in scope. */
  readonly scopes: readonly LogRange[];
}

/** Where a table's cursor stands before any of its rows are read. */
export interface CursorState {
  readonly table: string;
  /** Where a round begins that follows what is read now. */
  readonly from: Uint8Array | null;
  /** Why no round can follow, or null. */
  readonly problem: string | null;
}

/** What a sync is about to do to a generation. */
export interface Preparation {
  readonly plans: readonly TablePlan[];
  readonly sync: string;
  readonly source: string;
  readonly reuseSince: number;
  readonly unpublished: boolean;
  /** The change logs of the source, as they were before anything else of it was read. */
  readonly logs: readonly LogState[];
  /** The cursors, as they were before any row was read. */
  readonly cursors: readonly CursorState[];
  /** The version of the source's schema, as it was before the plans were made and the logs were read. */
  readonly schemaVersion: number | null;
  /** True to read every table in full. */
  readonly full: boolean;
  /** True when the plans say nothing of indexes: those that there are stay. */
  readonly keepIndexes?: boolean;
}

/** Rows of one table as they are now. */
export interface EncodedRows {
  readonly tableId: number;
  /** The rows that there are. */
  readonly batch: Batch;
  /** The keys of those that are not. */
  readonly removed: readonly Uint8Array[];
  readonly rejected: readonly RejectedRow[];
  /** Rows and entries of the log that the source gave. */
  readonly sourceRows: number;
}

/** Rows that a sweep of keys found missing. */
export type MissedRows = Omit<EncodedRows, 'removed'>;

/** Changes of one table, as a round brings them. */
export interface EncodedChanges extends EncodedRows {
  /** The version that the table must have, and the one it has then. */
  readonly after: number;
  readonly version: number;
  /** The versions that the logs of its scopes have then. */
  readonly scopeVersions: readonly number[];
}

/** What a table is held to that may not lose too much. */
export interface RowsBefore {
  /** Rows that the table had as its sync began. */
  readonly rowsBefore: number;
}

/** A step of a table that is followed by its cursor. */
export interface CursorStep extends EncodedRows, RowsBefore {
  /** Rows that the source gave, dead ones among them. */
  readonly rowsRead: number;
  /** Where the cursor stands then. Its number must follow that of the one before. */
  readonly cursor: CursorPosition;
}

/** What was loaded into an empty table. */
export interface LoadedTable {
  readonly tableId: number;
  readonly rows: number;
  /** Bytes of keys and values. */
  readonly bytes: number;
  readonly rejected: readonly RejectedRow[];
  readonly sourceRows: number;
}

/** One batch for one lane of a table, and where it leaves the lane. */
export interface BatchWrite {
  readonly tableId: number;
  readonly lane: number;
  /** This batch's number in its lane, from 1. */
  readonly sequence: number;
  readonly batch: Batch;
  readonly rejected: readonly RejectedRow[];
  readonly position: Uint8Array | null;
  readonly done: boolean;
  /** Rows that the source gave for it. */
  readonly sourceRows: number;
}

export interface SweepProgress {
  readonly counters: TableCounters;
  readonly done: boolean;
}

/** Rows looked at or removed in one transaction of a sweep. */
const SWEEP_CHUNK = 2000;
const NOTHING = Buffer.alloc(0);
const APPEND = { append: true };

/**
 * Writes one generation. Every method that changes something is one LMDB transaction, or a run of them with a
 * checkpoint in each, so that a kill at any instant leaves rows and checkpoint agreeing.
 *
 * A row that the source no longer has is removed only when its table was read to the end: until then it stands in the
 * scratch database.
 */
export class GenerationWriter {
  readonly #environment: Environment;
  readonly #checksum: Checksum;
  readonly #plans = new Map<number, TablePlan>();
  readonly #indexes = new Map<number, TableIndexes>();

  constructor(environment: Environment, checksum: Checksum) {
    this.#environment = environment;
    this.#checksum = checksum;
  }

  /** Empties tables that were loaded, and not counted before the sync was interrupted. */
  dropUncounted(): void {
    const environment = this.#environment;
    environment.refresh();
    for (const { id } of environment.catalog().tables) {
      const { rows, checkpoint } = environment.tableState(id);
      if (checkpoint?.phase !== 'reading' || !checkpoint.fresh || rows > 0) continue;
      const database = environment.rows(id);
      if ((database.getStats() as { entryCount: number }).entryCount === 0) continue;
      environment.transaction(() => {
        database.clearSync();
      });
    }
  }

  /** The same writer over an environment that was opened anew. */
  over(environment: Environment): GenerationWriter {
    const writer = new GenerationWriter(environment, this.#checksum);
    const { tables, pending } = environment.catalog();
    for (const table of [...tables, ...pending]) {
      const plan = this.#plans.get(table.id);
      if (!plan) continue;
      environment.openTable(table.id);
      writer.#plans.set(table.id, plan);
      writer.#indexes.set(table.id, new TableIndexes(environment, table, this.#checksum));
    }
    return writer;
  }

  /**
   * Enters the tables of a sync in the catalog, and finds or makes their checkpoints. What an interrupted sync left is
   * gone on from: tables that it was reading, and tables that it had completed and begun no earlier than `reuseSince`.
   * A sync whose generation was not published was interrupted too.
   */
  prepare(preparation: Preparation): PreparedTable[] {
    const { plans, sync, source, reuseSince, unpublished, logs, schemaVersion, full } = preparation;
    const keepIndexes = preparation.keepIndexes === true;
    const { cursors } = preparation;
    const environment = this.#environment;
    environment.refresh();
    const known = environment.catalog();
    const { catalog, tables, dropped } = fitCatalog(known, plans, { unpublished, keepIndexes });
    environment.makeRoomFor((catalog.nextId - known.nextId) * DATABASES_OF_A_TABLE);
    for (const { id } of dropped) environment.openTable(id);
    for (const { table } of tables) {
      environment.openTable(table.id);
      this.#plans.set(table.id, table.plan);
      this.#indexes.set(table.id, new TableIndexes(environment, table, this.#checksum));
    }
    return environment.transaction(() => {
      environment.putCatalog(catalog);
      environment.putSource(source);
      for (const { id, indexNumbers } of dropped) environment.dropTable(id, indexNumbers);
      return tables.map(({ table, replanned, change }, i): PreparedTable => {
        const { id } = table;
        const plan = plans[i]!;
        const pending = catalog.pending.includes(table);
        const { rows, checkpoint } = environment.tableState(id);
        for (const number of table.droppedIndexes) environment.removeIndexState(id, number);
        for (const number of table.indexNumbers) {
          if (environment.indexState(id, number)) continue;
          environment.putIndexState(id, number, newIndexState(rows));
        }
        const indexWork = hasIndexWork(environment, table);
        const traits = { id, rows, indexWork, pending, change, follows: null, cursor: null };
        const followable = logsOf(plan, logs);
        const cursor = cursors.find((state) => state.table === plan.name) ?? null;
        const mayFollow = checkpoint !== null && !full && !unpublished && !replanned;
        const follows =
          mayFollow && followable && isOfScope(checkpoint, plan)
            ? followedFrom(checkpoint, followable, schemaVersion)
            : null;
        if (mayFollow && follows) {
          const current = { ...checkpoint, sync, counters: ZERO_COUNTERS };
          environment.putTableState(id, { rows, checkpoint: current });
          return { ...traits, checkpoint: current, resumed: false, follows };
        }
        if (
          mayFollow &&
          !followable &&
          checkpoint.schemaVersion === schemaVersion &&
          canFollowCursor(plan, checkpoint, cursor)
        ) {
          const current = { ...checkpoint, sync, counters: ZERO_COUNTERS, log: null };
          environment.putTableState(id, { rows, checkpoint: current });
          const resumed = current.keySweep !== null || current.cursor!.round !== null;
          return { ...traits, checkpoint: current, resumed, cursor: current.cursor };
        }
        const interrupted =
          checkpoint !== null && !replanned && (unpublished || !checkpoint.settled);
        if (
          interrupted &&
          isOfScope(checkpoint, plan) &&
          (checkpoint.phase !== 'complete' || isSince(checkpoint.startedAt, reuseSince))
        ) {
          const resumed = { ...checkpoint, sync, settled: false };
          environment.putTableState(id, { rows, checkpoint: resumed });
          const reads = checkpoint.counters.rowsRead > 0;
          return { ...traits, checkpoint: resumed, resumed: reads };
        }
        const position = cursor && newCursorPosition(plan, cursor, Date.now());
        const reading = { sync, plan, logs: followable, schemaVersion, cursor: position };
        const started = this.#begin(id, reading);
        return { ...traits, checkpoint: started, resumed: false };
      });
    });
  }

  /** Begins to read a table in full of which that was not known as the sync was prepared. */
  restart(tableId: number, logs: readonly LogState[]): TableCheckpoint {
    const environment = this.#environment;
    environment.refresh();
    return environment.transaction(() => {
      const { checkpoint } = environment.tableState(tableId);
      const plan = this.#plan(tableId);
      // An older position of a cursor is always a good one.
      const { sync, cursor, schemaVersion } = checkpoint!;
      const reading = { sync, plan, logs: logsOf(plan, logs), schemaVersion, cursor };
      return this.#begin(tableId, reading);
    });
  }

  #begin(
    tableId: number,
    { sync, plan, logs, schemaVersion, cursor }: FullReading,
  ): TableCheckpoint {
    const environment = this.#environment;
    environment.scratch(tableId).clearSync();
    environment.quarantine(tableId).clearSync();
    const { rows } = environment.tableState(tableId);
    const now = Date.now();
    const checkpoint: TableCheckpoint = {
      sync,
      phase: 'reading',
      settled: false,
      fresh: rows === 0,
      lanes: [NEW_LANE],
      counters: ZERO_COUNTERS,
      sweepAfter: null,
      rowsBefore: rows,
      log: logs && positionIn(logs.own),
      schemaVersion,
      scopes: logs?.scopes.map(positionIn) ?? [],
      cursor,
      keySweep: null,
      alive: plan.alive,
      startedAt: now,
      updatedAt: now,
    };
    environment.putTableState(tableId, { rows, checkpoint });
    return checkpoint;
  }

  /** Builds some of the indexes that are not complete, or removes some of what is left of others. Call until it is done. */
  buildIndexes(tableId: number): IndexBuildProgress {
    return buildIndexes(this.#environment, tableId, this.#checksum);
  }

  /** Commits one batch with the checkpoint it leads to. */
  write(write: BatchWrite): TableCheckpoint {
    const { tableId, lane: laneNumber, batch, rejected } = write;
    const plan = this.#plan(tableId);
    const environment = this.#environment;
    environment.refresh();
    const { rows, checkpoint } = this.#reading(tableId);
    const lane = checkpoint.lanes[laneNumber] ?? NEW_LANE;
    if (write.sequence !== lane.sequence + 1) {
      throw new StorageSyncError(
        'WORKER_FAILED',
        `Batch ${write.sequence} of ${JSON.stringify(plan.name)} came after batch ${lane.sequence}.`,
      );
    }
    const arena = Buffer.from(batch.arena);
    const merge = checkpoint.fresh ? null : this.#compare(tableId, plan, lane, write, arena);

    return environment.transaction(() => {
      const scratch = environment.scratch(tableId);
      if (merge) for (const key of merge.scratch) scratch.putSync(key, NOTHING);
      // A sweep's batches hold keys: the rows that belong to them are not there to be written.
      const tally = checkpoint.keySweep
        ? NOTHING_PUT
        : this.#putRecords(tableId, batch, arena, checkpoint.fresh, merge?.unchanged);
      if (!checkpoint.keySweep) {
        this.#quarantine(tableId, rejected, checkpoint.counters.rowsQuarantined);
      }

      const next: TableCheckpoint = {
        ...checkpoint,
        lanes: replaceAt(checkpoint.lanes, laneNumber, {
          ...lane,
          position: write.position,
          lastKey: lastKey(batch, arena) ?? lane.lastKey,
          sequence: write.sequence,
          rowsSeen: lane.rowsSeen + batch.count + rejected.length,
          done: write.done,
        }),
        counters: checkpoint.keySweep
          ? withKeysRead(checkpoint.counters, write)
          : added(checkpoint.counters, write, tally, 0),
        updatedAt: Date.now(),
      };
      const read = next.lanes.every((each) => each.done);
      const phased = read
        ? { ...next, phase: checkpoint.fresh ? ('complete' as const) : ('sweeping' as const) }
        : next;
      environment.putTableState(tableId, { rows: rows + tally.added, checkpoint: phased });
      return phased;
    });
  }

  /**
   * Divides what is left of a table's only lane at boundaries, in their order: each part is a lane of its own from then on.
   * Boundaries that it has passed are left out. The table's rows come in the order of their keys.
   */
  divide(tableId: number, boundaries: readonly LaneBoundary[]): TableCheckpoint {
    const environment = this.#environment;
    environment.refresh();
    return environment.transaction(() => {
      const { rows, checkpoint } = this.#reading(tableId);
      const [only = NEW_LANE, ...others] = checkpoint.lanes;
      if (only.done || others.length > 0) return checkpoint;
      const lanes: LaneCheckpoint[] = [];
      let rest = only;
      for (const { position, key } of boundaries) {
        if (rest.lastKey !== null && Buffer.compare(key, rest.lastKey) <= 0) continue;
        lanes.push({ ...rest, upTo: position, endKey: key });
        rest = { ...NEW_LANE, position, lastKey: key };
      }
      const divided = { ...checkpoint, lanes: [...lanes, rest], updatedAt: Date.now() };
      environment.putTableState(tableId, { rows, checkpoint: divided });
      return divided;
    });
  }

  /** Commits what was loaded into a table's database, past this writer. */
  loaded({ tableId, rows, bytes, rejected, sourceRows }: LoadedTable): TableCheckpoint {
    const environment = this.#environment;
    environment.refresh();
    return environment.transaction(() => {
      const { checkpoint } = this.#reading(tableId);
      this.#quarantine(tableId, rejected, 0);
      const seen = rows + rejected.length;
      const next: TableCheckpoint = {
        ...checkpoint,
        phase: 'complete',
        lanes: [{ ...NEW_LANE, sequence: 1, rowsSeen: seen, done: true }],
        counters: {
          rowsRead: seen,
          rowsWritten: rows,
          rowsUnchanged: 0,
          rowsDeleted: 0,
          rowsQuarantined: rejected.length,
          bytesWritten: bytes,
          sourceRowsRead: sourceRows,
        },
        updatedAt: Date.now(),
      };
      environment.putTableState(tableId, { rows, checkpoint: next });
      return next;
    });
  }

  /**
   * Commits a round of changes, with the versions it leads to.
   *
   * @throws {LossError} when a table would have lost too much since its sync began. Nothing is committed then.
   */
  apply(
    changes: readonly (EncodedChanges & RowsBefore)[],
    maxLossShare: number,
  ): TableCheckpoint[] {
    const environment = this.#environment;
    environment.refresh();
    return environment.transaction(() =>
      changes.map((change) => this.#applyTo(change, maxLossShare)),
    );
  }

  #applyTo(change: EncodedChanges & RowsBefore, maxLossShare: number): TableCheckpoint {
    const { tableId, after, version, scopeVersions } = change;
    const plan = this.#plan(tableId);
    const { rows, checkpoint } = this.#environment.tableState(tableId);
    if (checkpoint?.phase !== 'complete' || checkpoint.log?.version !== after) {
      throw new StorageSyncError(
        'WORKER_FAILED',
        `Changes of ${JSON.stringify(plan.name)} behind ${after} came after ${checkpoint?.log?.version}.`,
      );
    }
    const { tally, deleted } = this.#applyRows(plan, rows, change, maxLossShare);
    this.#quarantine(tableId, change.rejected, version);
    const next: TableCheckpoint = {
      ...checkpoint,
      log: { ...checkpoint.log, version },
      scopes: checkpoint.scopes.map((scope, i) => ({ ...scope, version: scopeVersions[i]! })),
      counters: added(checkpoint.counters, change, tally, deleted),
      updatedAt: Date.now(),
    };
    const left = rows + tally.added - deleted;
    this.#environment.putTableState(tableId, { rows: left, checkpoint: next });
    return next;
  }

  /** Puts and removes rows, unless too many were lost by that. Inside a transaction. */
  #applyRows(
    plan: TablePlan,
    rows: number,
    { tableId, batch, removed, rowsBefore }: EncodedRows & RowsBefore,
    maxLossShare: number,
  ): { readonly tally: Tally; readonly deleted: number } {
    const arena = Buffer.from(batch.arena);
    const tally = this.#putRecords(tableId, batch, arena, false);
    let deleted = 0;
    for (const key of removed) if (this.#removeRow(tableId, plan, Buffer.from(key))) deleted++;
    const after = rows + tally.added - deleted;
    if (deleted > 0) refuseLoss({ table: plan.name, before: rowsBefore, after }, maxLossShare);
    return { tally, deleted };
  }

  /**
   * Commits steps of tables that are followed by their cursors.
   *
   * @throws {LossError} when a table would have lost too much since its sync began. Nothing is committed then.
   */
  follow(steps: readonly CursorStep[], maxLossShare: number): TableCheckpoint[] {
    const environment = this.#environment;
    environment.refresh();
    return environment.transaction(() => steps.map((step) => this.#followStep(step, maxLossShare)));
  }

  #followStep(step: CursorStep, maxLossShare: number): TableCheckpoint {
    const { tableId, rejected, cursor } = step;
    const plan = this.#plan(tableId);
    const { rows, checkpoint } = this.#environment.tableState(tableId);
    if (!checkpoint?.cursor || checkpoint.cursor.step + 1 !== cursor.step) {
      throw new StorageSyncError(
        'WORKER_FAILED',
        `Step ${cursor.step} of ${JSON.stringify(plan.name)} came after step ${checkpoint?.cursor?.step}.`,
      );
    }
    const { tally, deleted } = this.#applyRows(plan, rows, step, maxLossShare);
    if (checkpoint.keySweep) this.#noteAsThere(plan, step);
    this.#quarantineByKey(tableId, rejected);
    const counted = added(checkpoint.counters, step, tally, deleted);
    const next: TableCheckpoint = {
      ...checkpoint,
      cursor,
      counters: { ...counted, rowsRead: checkpoint.counters.rowsRead + step.rowsRead },
      updatedAt: Date.now(),
    };
    const after = rows + tally.added - deleted;
    this.#environment.putTableState(tableId, { rows: after, checkpoint: next });
    return next;
  }

  /** While the keys are read: rows that are there may not be taken for removed, whatever was found before. */
  #noteAsThere(plan: TablePlan, { tableId, batch }: MissedRows): void {
    const scratch = this.#environment.scratch(tableId);
    const arena = Buffer.from(batch.arena);
    for (const { keyStart, valueStart } of recordsOf(batch)) {
      const key = arena.subarray(keyStart, valueStart);
      if (plan.inKeyOrder) scratch.removeSync(key);
      else scratch.putSync(key, NOTHING);
    }
  }

  /** Begins a reading of all keys of a table, or goes on with the one that was interrupted. */
  beginSweep(tableId: number): TableCheckpoint {
    const environment = this.#environment;
    environment.refresh();
    return environment.transaction(() => {
      const { rows, checkpoint } = environment.tableState(tableId);
      if (!checkpoint?.cursor) {
        throw new StorageSyncError('WORKER_FAILED', `Table ${tableId} follows no cursor.`);
      }
      if (checkpoint.keySweep) return checkpoint;
      environment.scratch(tableId).clearSync();
      const begun: TableCheckpoint = {
        ...checkpoint,
        phase: 'reading',
        fresh: false,
        lanes: [NEW_LANE],
        sweepAfter: null,
        rowsBefore: rows,
        keySweep: { startedAt: Date.now(), removing: false },
      };
      environment.putTableState(tableId, { rows, checkpoint: begun });
      return begun;
    });
  }

  /** Commits rows that a sweep of keys found missing. */
  insertMissed(rows: MissedRows): void {
    const environment = this.#environment;
    environment.refresh();
    environment.transaction(() => {
      const { tableId, batch, rejected } = rows;
      const plan = this.#plan(tableId);
      const { rows: before, checkpoint } = this.#reading(tableId);
      const arena = Buffer.from(batch.arena);
      const tally = this.#putRecords(tableId, batch, arena, false);
      this.#noteAsThere(plan, rows);
      this.#quarantineByKey(tableId, rejected);
      const counters = added(checkpoint.counters, rows, tally, 0);
      environment.putTableState(tableId, {
        rows: before + tally.added,
        checkpoint: { ...checkpoint, counters, updatedAt: Date.now() },
      });
    });
  }

  /** The keys of a batch of which there is no row. */
  absentKeys(tableId: number, batch: Batch): Uint8Array[] {
    this.#environment.refresh();
    const rows = this.#environment.rows(tableId);
    const arena = Buffer.from(batch.arena);
    const absent: Uint8Array[] = [];
    for (const { keyStart, valueStart } of recordsOf(batch)) {
      const key = arena.subarray(keyStart, valueStart);
      if (!rows.doesExist(key)) absent.push(new Uint8Array(key));
    }
    return absent;
  }

  /** What a sweep would leave of a completely read table. */
  previewSweep(tableId: number): { readonly before: number; readonly after: number } {
    const environment = this.#environment;
    environment.refresh();
    const { rows, checkpoint } = environment.tableState(tableId);
    const { entryCount } = environment.scratch(tableId).getStats() as { entryCount: number };
    const after = this.#plan(tableId).inKeyOrder ? rows - entryCount : entryCount;
    // A sweep that was begun has removed rows already, and was looked at before.
    const begun = checkpoint?.keySweep
      ? checkpoint.keySweep.removing
      : checkpoint?.sweepAfter != null || (checkpoint?.counters.rowsDeleted ?? 0) > 0;
    return { before: begun ? 0 : (checkpoint?.rowsBefore ?? rows), after };
  }

  /** Gives up the reading of a table: the next sync begins it anew. A pending one is dropped. */
  abandon(tableId: number): void {
    const environment = this.#environment;
    environment.refresh();
    const catalog = environment.catalog();
    environment.transaction(() => {
      const begun = catalog.pending.find(({ id }) => id === tableId);
      if (begun) {
        environment.dropTable(tableId, begun.indexNumbers);
        const pending = catalog.pending.filter((table) => table !== begun);
        environment.putCatalog({ ...catalog, pending });
        return;
      }
      const { rows, checkpoint } = environment.tableState(tableId);
      environment.scratch(tableId).clearSync();
      if (checkpoint === null) return;
      const { keySweep, cursor } = checkpoint;
      // It will be read in full; after a sweep of keys, they are read again.
      const abandoned: TableCheckpoint | null = keySweep
        ? { ...checkpoint, phase: 'complete', settled: true, log: null, cursor, keySweep: null }
        : null;
      environment.putTableState(tableId, { rows, checkpoint: abandoned });
    });
  }

  /** Removes some of the rows that a completely read table no longer has. Call until it is done. */
  sweep(tableId: number): SweepProgress {
    const environment = this.#environment;
    environment.refresh();
    const { rows, checkpoint } = environment.tableState(tableId);
    if (!checkpoint || checkpoint.phase !== 'sweeping') {
      return { counters: checkpoint?.counters ?? ZERO_COUNTERS, done: true };
    }
    const plan = this.#plan(tableId);
    const found = plan.inKeyOrder
      ? this.#markedRows(tableId)
      : this.#unseenRows(tableId, checkpoint.sweepAfter);
    return environment.transaction(() => {
      let deleted = 0;
      for (const key of found.remove) {
        if (this.#removeRow(tableId, plan, key)) deleted++;
      }
      if (plan.inKeyOrder)
        for (const key of found.remove) environment.scratch(tableId).removeSync(key);
      if (found.done) environment.scratch(tableId).clearSync();
      const counters = {
        ...checkpoint.counters,
        rowsDeleted: checkpoint.counters.rowsDeleted + deleted,
      };
      const { cursor, keySweep } = checkpoint;
      const swept = keySweep && cursor ? { ...cursor, sweptAt: keySweep.startedAt } : cursor;
      environment.putTableState(tableId, {
        rows: rows - deleted,
        checkpoint: {
          ...checkpoint,
          counters,
          cursor: found.done ? swept : cursor,
          keySweep: keySweep && !found.done ? { ...keySweep, removing: true } : null,
          phase: found.done ? 'complete' : 'sweeping',
          sweepAfter: found.after,
          updatedAt: Date.now(),
        },
      });
      return { counters, done: found.done };
    });
  }

  /**
   * Records that a sync of these tables is complete, and judges their unique indexes. Pending ones among them take
   * their places: readers see them from then on, and no longer what they replace. With `dropOthers`, the generation's
   * other tables are dropped.
   */
  complete(record: SyncRecord, tableIds: readonly number[], dropOthers: boolean): UniqueVerdict[] {
    const environment = this.#environment;
    environment.refresh();
    const known = environment.catalog();
    const { catalog, gone } = settleCatalog(known, tableIds, dropOthers);
    const isNews = gone.length > 0 || catalog.pending.length < known.pending.length;
    for (const { id } of gone) environment.openTable(id);
    return environment.transaction(() => {
      for (const { id, indexNumbers } of gone) environment.dropTable(id, indexNumbers);
      if (isNews) environment.putCatalog(catalog);
      for (const id of tableIds) {
        const { rows, checkpoint } = environment.tableState(id);
        if (checkpoint)
          environment.putTableState(id, { rows, checkpoint: { ...checkpoint, settled: true } });
      }
      environment.putSyncRecord(record);
      return tableIds.flatMap((id) => this.#indexes.get(id)?.judge() ?? []);
    });
  }

  /** Whether each table holds as many records as it says. */
  countsAgree(tableId: number): { readonly stored: number; readonly counted: number } {
    this.#environment.refresh();
    const stats = this.#environment.rows(tableId).getStats() as { entryCount: number };
    return { stored: this.#environment.tableState(tableId).rows, counted: stats.entryCount };
  }

  /**
   * Holds a batch against what is stored: which of its records are stored already, where the order of the keys tells
   * that at once, and which keys go to the scratch database. In key order those are the stored keys that the batch's
   * range should have had; otherwise the batch's own.
   */
  #compare(
    tableId: number,
    plan: TablePlan,
    lane: LaneCheckpoint,
    write: BatchWrite,
    arena: Buffer,
  ): { readonly unchanged?: Uint8Array; readonly scratch: readonly Buffer[] } {
    const { batch, done } = write;
    if (!plan.inKeyOrder) {
      const seen: Buffer[] = [];
      for (const { keyStart, valueStart } of recordsOf(batch)) {
        seen.push(arena.subarray(keyStart, valueStart));
      }
      return { scratch: seen };
    }

    refuseDisorder(plan, lane, batch, arena);
    const rows = this.#environment.rows(tableId);
    const unchanged = new Uint8Array(batch.count);
    const last = lastKey(batch, arena);
    if (last === null && !done) return { unchanged, scratch: [] };
    const missing: Buffer[] = [];
    const records = recordsOf(batch);
    let record = records.next();
    let i = 0;
    const end = done ? lane.endKey : last;
    const range = rows.getRange({
      ...(lane.lastKey ? { start: Buffer.from(lane.lastKey), exclusiveStart: true } : {}),
      ...(end ? { end: Buffer.from(end), inclusiveEnd: true } : {}),
    });
    for (const { key, value } of range) {
      let order = 1;
      while (!record.done) {
        const { keyStart, valueStart } = record.value;
        order = arena.compare(key, 0, key.length, keyStart, valueStart);
        if (order >= 0) break;
        record = records.next();
        i++;
      }
      if (record.done || order > 0) missing.push(key);
      else
        unchanged[i] = sameRecord(value, arena, record.value.valueStart, record.value.end) ? 1 : 0;
    }
    return { unchanged, scratch: missing };
  }

  /** @param unchanged the records that are stored already, where that is known: else each is looked up. */
  #putRecords(
    tableId: number,
    batch: Batch,
    arena: Buffer,
    fresh: boolean,
    unchanged?: Uint8Array,
  ): Tally {
    const plan = this.#plan(tableId);
    const rows = this.#environment.rows(tableId);
    let append = fresh && plan.inKeyOrder && batch.ascending;
    let written = 0;
    let added = 0;
    let bytes = 0;
    let i = 0;
    for (const { keyStart, valueStart, end } of recordsOf(batch)) {
      if (unchanged?.[i++] === 1) continue;
      const key = arena.subarray(keyStart, valueStart);
      const value = arena.subarray(valueStart, end);
      // LMDB refuses an append out of order without an error: then this record, and the rest, go in by search.
      if (append && (rows.putSync(key, value, APPEND) as unknown as boolean)) {
        added++;
      } else {
        append = false;
        const old = lentValue(rows, key);
        if (old === undefined) added++;
        else if (unchanged === undefined && sameRecord(old, arena, valueStart, end)) continue;
        else this.#index('remove', tableId, plan, key, old);
        rows.putSync(key, value);
      }
      this.#index('add', tableId, plan, key, value);
      written++;
      bytes += end - keyStart;
    }
    return { written, added, bytes };
  }

  #removeRow(tableId: number, plan: TablePlan, key: Buffer): boolean {
    const rows = this.#environment.rows(tableId);
    const old = lentValue(rows, key);
    if (old === undefined) return false;
    this.#index('remove', tableId, plan, key, old);
    rows.removeSync(key);
    return true;
  }

  /** Enters a row in its table's indexes, or takes it out of them. */
  #index(
    change: 'add' | 'remove',
    tableId: number,
    plan: TablePlan,
    key: Buffer,
    value: Buffer,
  ): void {
    if (plan.indexes.length > 0) this.#indexes.get(tableId)?.[change](key, value);
  }

  #quarantine(tableId: number, rejected: readonly RejectedRow[], from: number): void {
    const quarantine = this.#environment.quarantine(tableId);
    rejected.forEach((row, i) => {
      const key = Buffer.alloc(8);
      key.writeBigUInt64BE(BigInt(from + i));
      quarantine.putSync(key, packMeta(key, row));
    });
  }

  /** As {@link #quarantine}, for rows that may be read again and again. */
  #quarantineByKey(tableId: number, rejected: readonly RejectedRow[]): void {
    const quarantine = this.#environment.quarantine(tableId);
    for (const row of rejected) {
      const key = Buffer.alloc(8);
      key.writeBigUInt64BE(this.#checksum(Buffer.from(row.key)));
      quarantine.putSync(key, packMeta(key, row));
    }
  }

  #markedRows(tableId: number): FoundRows {
    const remove = [...this.#environment.scratch(tableId).getKeys({ limit: SWEEP_CHUNK })];
    return { remove, after: null, done: remove.length < SWEEP_CHUNK };
  }

  #unseenRows(tableId: number, after: Uint8Array | null): FoundRows {
    const seen = this.#environment.scratch(tableId);
    const start = after ? { start: Buffer.from(after), exclusiveStart: true } : {};
    const keys = [...this.#environment.rows(tableId).getKeys({ ...start, limit: SWEEP_CHUNK })];
    return {
      remove: keys.filter((key) => !seen.doesExist(key)),
      after: keys.at(-1) ?? after,
      done: keys.length < SWEEP_CHUNK,
    };
  }

  #reading(tableId: number): { readonly rows: number; readonly checkpoint: TableCheckpoint } {
    const { rows, checkpoint } = this.#environment.tableState(tableId);
    if (!checkpoint || checkpoint.phase !== 'reading') {
      throw new StorageSyncError('WORKER_FAILED', `Table ${tableId} is not being read.`);
    }
    return { rows, checkpoint };
  }

  #plan(tableId: number): TablePlan {
    const plan = this.#plans.get(tableId);
    if (!plan) throw new StorageSyncError('WORKER_FAILED', `Table ${tableId} was not prepared.`);
    return plan;
  }
}

/** What putting records has done. */
interface Tally {
  readonly written: number;
  readonly added: number;
  readonly bytes: number;
}

const NOTHING_PUT: Tally = { written: 0, added: 0, bytes: 0 };

function withKeysRead(
  counters: TableCounters,
  { batch, rejected, sourceRows }: BatchWrite,
): TableCounters {
  return {
    ...counters,
    rowsRead: counters.rowsRead + batch.count + rejected.length,
    sourceRowsRead: counters.sourceRowsRead + sourceRows,
  };
}

/** Whether it is no earlier than that, nor ahead of a clock that was set back since. */
function isSince(at: number, earliest: number): boolean {
  return at >= earliest && at <= Date.now();
}

/** What a batch and the rows deleted with it add to a table's counters. */
function added(
  counters: TableCounters,
  { batch, rejected, sourceRows }: Pick<BatchWrite, 'batch' | 'rejected' | 'sourceRows'>,
  tally: { readonly written: number; readonly bytes: number },
  deleted: number,
): TableCounters {
  return {
    rowsRead: counters.rowsRead + batch.count + rejected.length,
    rowsWritten: counters.rowsWritten + tally.written,
    rowsUnchanged: counters.rowsUnchanged + batch.count - tally.written,
    rowsDeleted: counters.rowsDeleted + deleted,
    rowsQuarantined: counters.rowsQuarantined + rejected.length,
    bytesWritten: counters.bytesWritten + tally.bytes,
    sourceRowsRead: counters.sourceRowsRead + sourceRows,
  };
}

/** What is known before a table is read in full. */
interface FullReading {
  readonly sync: string;
  readonly plan: TablePlan;
  readonly logs: TableLogs | null;
  readonly schemaVersion: number | null;
  readonly cursor: CursorPosition | null;
}

/** The logs that tell what may change in the cache of one table. */
interface TableLogs {
  readonly own: LogState;
  readonly scopes: readonly LogState[];
}

/** The logs of a plan's table and of its scopes, where there is one of each. */
function logsOf(plan: TablePlan, logs: readonly LogState[]): TableLogs | null {
  if (!mayFollowLog(plan) || plan.mode === 'full' || plan.mode === 'cursor') return null;
  const own = logOf(plan.name, plan.keyNames, logs);
  const scopes = plan.scopes.flatMap(({ table, key }) => logOf(table, key, logs) ?? []);
  return own && scopes.length === plan.scopes.length ? { own, scopes } : null;
}

/** The log of a table, where it is of that key. */
function logOf(name: string, key: readonly string[], logs: readonly LogState[]): LogState | null {
  const log = logs.find(({ table }) => foldName(table) === foldName(name));
  const ofKey = log?.key.map(foldName).join('\0') === key.map(foldName).join('\0');
  return log && ofKey ? log : null;
}

function positionIn({ logId, version }: LogState): LogPosition {
  return { id: logId, version };
}

/** Which changes bring a completely synced table up to date, or null where its logs do not tell them all. */
function followedFrom(
  { phase, settled, log, scopes, schemaVersion }: TableCheckpoint,
  logs: TableLogs,
  wantedVersion: number | null,
): FollowedLog | null {
  // After a change of the schema the triggers may have missed what it did to rows.
  if (wantedVersion === null || schemaVersion !== wantedVersion) return null;
  if (phase !== 'complete' || !settled || scopes.length !== logs.scopes.length) return null;
  const own = rangeBehind(log, logs.own);
  const ranges = scopes.flatMap((position, i) => rangeBehind(position, logs.scopes[i]!) ?? []);
  return own && ranges.length === scopes.length ? { ...own, scopes: ranges } : null;
}

function rangeBehind(position: LogPosition | null, log: LogState): LogRange | null {
  const isWhole =
    position?.id === log.logId &&
    !log.restored &&
    position.version >= log.compacted &&
    position.version <= log.version;
  return isWhole ? { log: log.number, after: position.version, upTo: log.version } : null;
}

/** Whether a cursor brings a completely synced table up to date. */
function canFollowCursor(
  plan: TablePlan,
  checkpoint: TableCheckpoint,
  state: CursorState | null,
): boolean {
  const { phase, settled, cursor, keySweep } = checkpoint;
  return (
    state !== null &&
    state.problem === null &&
    (phase === 'complete' || keySweep !== null) &&
    settled &&
    isOfScope(checkpoint, plan) &&
    cursor !== null &&
    cursor.of === cursorIdentity(plan) &&
    cursor.problem === null
  );
}

/** Whether the rows that were read are those that are wanted now. */
function isOfScope({ alive }: TableCheckpoint, plan: TablePlan): boolean {
  return alive === plan.alive;
}

function newCursorPosition(
  plan: TablePlan,
  { from, problem }: CursorState,
  sweptAt: number,
): CursorPosition {
  return { of: cursorIdentity(plan)!, step: 0, from, problem, round: null, sweptAt };
}

interface FoundRows {
  readonly remove: readonly Buffer[];
  readonly after: Uint8Array | null;
  readonly done: boolean;
}

/** Comparing by range relies on the order: without it, rows would be taken for removed. */
function refuseDisorder(plan: TablePlan, lane: LaneCheckpoint, batch: Batch, arena: Buffer): void {
  const [start = 0, end = 0] = new Uint32Array(batch.spans);
  const behind =
    batch.count === 0 ||
    lane.lastKey === null ||
    arena.compare(lane.lastKey, 0, lane.lastKey.length, start, end) > 0;
  if (batch.ascending && behind) return;
  throw new StorageSyncError(
    'WORKER_FAILED',
    `The source gave rows of ${JSON.stringify(plan.name)} out of the order of their keys.`,
    { context: { table: plan.name }, hint: "Please report this with the table's schema." },
  );
}

function lastKey(batch: Batch, arena: Buffer): Buffer | null {
  if (batch.count === 0) return null;
  const [start, end] = new Uint32Array(batch.spans, SPAN_BYTES * (batch.count - 1), 2);
  return Buffer.from(arena.subarray(start, end));
}

/** Records with one key are the same when their lengths and checksums are. */
function sameRecord(stored: Buffer, arena: Buffer, valueStart: number, end: number): boolean {
  const length = end - valueStart;
  if (stored.length !== length) return false;
  return arena.compare(stored, length - CHECKSUM_BYTES, length, end - CHECKSUM_BYTES, end) === 0;
}

function replaceAt<T>(list: readonly T[], at: number, value: T): T[] {
  const copy = [...list];
  copy[at] = value;
  return copy;
}
