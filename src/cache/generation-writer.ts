import { StorageSyncError } from '../errors.js';
import type { SchemaChange, TableCounters } from '../report.js';
import { foldName } from '../source/introspection.js';
import type { LogState } from '../source/log-state.js';
import type { RejectedRow } from '../source/page.js';
import { mayFollowLog, type TablePlan } from '../source/plan.js';
import { recordsOf, SPAN_BYTES, type Batch } from '../transform/batch.js';
import { CHECKSUM_BYTES, type Checksum } from '../transform/checksum.js';
import {
  DATABASES_OF_A_TABLE,
  fitCatalog,
  NEW_LANE,
  newIndexState,
  settleCatalog,
  ZERO_COUNTERS,
  type LaneCheckpoint,
  type SyncRecord,
  type TableCheckpoint,
} from './catalog.js';
import type { Environment } from './environment.js';
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
  /** True when indexes are to be built or removed: see {@link GenerationWriter.buildIndexes}. */
  readonly indexWork: boolean;
  /** True when it is filled beside what is served, until {@link GenerationWriter.complete}. */
  readonly pending: boolean;
  /** How it differs from the served table whose place it is to take, or null. */
  readonly change: SchemaChange | null;
}

/** Which changes bring a table up to date: those of a log behind one version, and up to another at least. */
export interface FollowedLog {
  readonly log: number;
  readonly after: number;
  readonly upTo: number;
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
  /** The version of the source's schema, as it was before the plans were made and the logs were read. */
  readonly schemaVersion: number | null;
  /** True to read every table in full. */
  readonly full: boolean;
  /** True when the plans say nothing of indexes: those that there are stay. */
  readonly keepIndexes?: boolean;
}

/** Changes of one table, as a round brings them. */
export interface EncodedChanges {
  readonly tableId: number;
  /** The version that the table must have, and the one it has then. */
  readonly after: number;
  readonly version: number;
  /** The rows that there are. */
  readonly batch: Batch;
  /** The keys of those that are not. */
  readonly removed: readonly Uint8Array[];
  readonly rejected: readonly RejectedRow[];
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

  /**
   * Enters the tables of a sync in the catalog, and finds or makes their checkpoints. What an interrupted sync left is
   * gone on from: tables that it was reading, and tables that it had completed and begun no earlier than `reuseSince`.
   * A sync whose generation was not published was interrupted too.
   */
  prepare(preparation: Preparation): PreparedTable[] {
    const { plans, sync, source, reuseSince, unpublished, logs, schemaVersion, full } = preparation;
    const keepIndexes = preparation.keepIndexes === true;
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
        const { id, plan } = table;
        const pending = catalog.pending.includes(table);
        const { rows, checkpoint } = environment.tableState(id);
        for (const number of table.droppedIndexes) environment.removeIndexState(id, number);
        for (const number of table.indexNumbers) {
          if (environment.indexState(id, number)) continue;
          environment.putIndexState(id, number, newIndexState(rows));
        }
        const indexWork = hasIndexWork(environment, table);
        const traits = { id, rows, indexWork, pending, change };
        const log = logOf(plans[i]!, logs);
        const mayFollow = !full && !unpublished && !replanned;
        if (checkpoint && mayFollow && canFollow(plan, checkpoint, log, schemaVersion)) {
          const follows = {
            log: log!.number,
            after: checkpoint.log!.version,
            upTo: log!.version,
          };
          const current = { ...checkpoint, sync, counters: ZERO_COUNTERS };
          environment.putTableState(id, { rows, checkpoint: current });
          return { ...traits, checkpoint: current, resumed: false, follows };
        }
        const interrupted =
          checkpoint !== null && !replanned && (unpublished || !checkpoint.settled);
        if (
          interrupted &&
          (checkpoint.phase !== 'complete' || checkpoint.startedAt >= reuseSince)
        ) {
          const resumed = { ...checkpoint, sync, settled: false };
          environment.putTableState(id, { rows, checkpoint: resumed });
          const reads = checkpoint.counters.rowsRead > 0;
          return { ...traits, checkpoint: resumed, resumed: reads, follows: null };
        }
        environment.scratch(id).clearSync();
        environment.quarantine(id).clearSync();
        const now = Date.now();
        const started: TableCheckpoint = {
          sync,
          phase: 'reading',
          settled: false,
          fresh: rows === 0,
          lanes: [NEW_LANE],
          counters: ZERO_COUNTERS,
          sweepAfter: null,
          rowsBefore: rows,
          log: log && { id: log.logId, version: log.version, schemaVersion },
          startedAt: now,
          updatedAt: now,
        };
        environment.putTableState(id, { rows, checkpoint: started });
        return { ...traits, checkpoint: started, resumed: false, follows: null };
      });
    });
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
      const tally = this.#putRecords(
        tableId,
        plan,
        batch,
        arena,
        checkpoint.fresh,
        merge?.unchanged,
      );
      const scratch = environment.scratch(tableId);
      if (merge) for (const key of merge.scratch) scratch.putSync(key, NOTHING);
      this.#quarantine(tableId, rejected, checkpoint.counters.rowsQuarantined);

      const next: TableCheckpoint = {
        ...checkpoint,
        lanes: replaceAt(checkpoint.lanes, laneNumber, {
          position: write.position,
          lastKey: lastKey(batch, arena) ?? lane.lastKey,
          sequence: write.sequence,
          rowsSeen: lane.rowsSeen + batch.count + rejected.length,
          done: write.done,
        }),
        counters: added(checkpoint.counters, write, tally, 0),
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

  /** Commits a round of changes, with the versions it leads to. */
  apply(changes: readonly EncodedChanges[]): TableCheckpoint[] {
    const environment = this.#environment;
    environment.refresh();
    return environment.transaction(() => changes.map((change) => this.#applyTo(change)));
  }

  #applyTo(change: EncodedChanges): TableCheckpoint {
    const { tableId, after, version, batch, removed, rejected } = change;
    const plan = this.#plan(tableId);
    const { rows, checkpoint } = this.#environment.tableState(tableId);
    if (checkpoint?.phase !== 'complete' || checkpoint.log?.version !== after) {
      throw new StorageSyncError(
        'WORKER_FAILED',
        `Changes of ${JSON.stringify(plan.name)} behind ${after} came after ${checkpoint?.log?.version}.`,
      );
    }
    const arena = Buffer.from(batch.arena);
    const unchanged = this.#unchanged(tableId, batch, arena);
    const tally = this.#putRecords(tableId, plan, batch, arena, false, unchanged);
    let deleted = 0;
    for (const key of removed) if (this.#removeRow(tableId, plan, Buffer.from(key))) deleted++;
    this.#quarantine(tableId, rejected, version);
    const next: TableCheckpoint = {
      ...checkpoint,
      log: { ...checkpoint.log, version },
      counters: added(checkpoint.counters, change, tally, deleted),
      updatedAt: Date.now(),
    };
    this.#environment.putTableState(tableId, {
      rows: rows + tally.added - deleted,
      checkpoint: next,
    });
    return next;
  }

  /** Which records of a batch are stored already, as they are. */
  #unchanged(tableId: number, batch: Batch, arena: Buffer): Uint8Array {
    const rows = this.#environment.rows(tableId);
    const unchanged = new Uint8Array(batch.count);
    let i = 0;
    for (const { keyStart, valueStart, end } of recordsOf(batch)) {
      const stored = rows.getBinaryFast(arena.subarray(keyStart, valueStart));
      unchanged[i++] = stored !== undefined && sameRecord(stored, arena, valueStart, end) ? 1 : 0;
    }
    return unchanged;
  }

  /** What a sweep would leave of a completely read table. */
  previewSweep(tableId: number): { readonly before: number; readonly after: number } {
    const environment = this.#environment;
    environment.refresh();
    const { rows, checkpoint } = environment.tableState(tableId);
    const { entryCount } = environment.scratch(tableId).getStats() as { entryCount: number };
    const after = this.#plan(tableId).inKeyOrder ? rows - entryCount : entryCount;
    // A sweep that was begun has removed rows already, and was looked at before.
    const begun = checkpoint?.sweepAfter != null || (checkpoint?.counters.rowsDeleted ?? 0) > 0;
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
      const { rows } = environment.tableState(tableId);
      environment.scratch(tableId).clearSync();
      environment.putTableState(tableId, { rows, checkpoint: null });
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
      environment.putTableState(tableId, {
        rows: rows - deleted,
        checkpoint: {
          ...checkpoint,
          counters,
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
   * Holds a batch against what is stored: which of its records are stored already, and which keys go to the scratch
   * database. In key order those are the stored keys that the batch's range should have had; otherwise the batch's own.
   */
  #compare(
    tableId: number,
    plan: TablePlan,
    lane: LaneCheckpoint,
    write: BatchWrite,
    arena: Buffer,
  ): { readonly unchanged: Uint8Array; readonly scratch: readonly Buffer[] } {
    const { batch, done } = write;
    if (!plan.inKeyOrder) {
      const seen: Buffer[] = [];
      for (const { keyStart, valueStart } of recordsOf(batch)) {
        seen.push(arena.subarray(keyStart, valueStart));
      }
      return { unchanged: this.#unchanged(tableId, batch, arena), scratch: seen };
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
    const range = rows.getRange({
      ...(lane.lastKey ? { start: Buffer.from(lane.lastKey), exclusiveStart: true } : {}),
      ...(done ? {} : { end: last!, inclusiveEnd: true }),
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

  #putRecords(
    tableId: number,
    plan: TablePlan,
    batch: Batch,
    arena: Buffer,
    fresh: boolean,
    unchanged: Uint8Array | undefined,
  ): { readonly written: number; readonly added: number; readonly bytes: number } {
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
        const old = rows.getBinaryFast(key);
        if (old === undefined) added++;
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
    const old = rows.getBinaryFast(key);
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
      quarantine.putSync(key, packMeta(row));
    });
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

/** What a batch and the rows deleted with it add to a table's counters. */
function added(
  counters: TableCounters,
  { batch, rejected }: Pick<BatchWrite, 'batch' | 'rejected'>,
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
  };
}

/** The log of a plan's table, where there is one of its key. */
function logOf(plan: TablePlan, logs: readonly LogState[]): LogState | null {
  const log = logs.find(({ table }) => foldName(table) === foldName(plan.name));
  const ofKey = log?.key.map(foldName).join('\0') === plan.keyNames.map(foldName).join('\0');
  return log && ofKey ? log : null;
}

/** Whether a log brings a completely synced table up to date. */
function canFollow(
  plan: TablePlan,
  checkpoint: TableCheckpoint,
  log: LogState | null,
  schemaVersion: number | null,
): boolean {
  const { phase, settled, log: position } = checkpoint;
  return (
    log !== null &&
    phase === 'complete' &&
    settled &&
    mayFollowLog(plan) &&
    position?.id === log.logId &&
    schemaVersion !== null &&
    position.schemaVersion === schemaVersion &&
    position.version >= log.compacted &&
    position.version <= log.version
  );
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
