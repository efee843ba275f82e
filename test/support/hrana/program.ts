import { setTimeout as sleep } from 'node:timers/promises';
import type { ServedDatabase, StreamConnection } from './database.js';
import { type Arguments, BusyError, type StatementEffect } from './engine.js';
import { ResponseError, responseTooLarge, transactionTimeout } from './errors.js';
import { formatFloat } from './json-float.js';
import type {
  BatchCond,
  BatchResult,
  Col,
  HranaError,
  Row,
  SqlValue,
  StmtResult,
} from './protocol.js';
import type { AnalyzedStatement } from './sql-analysis.js';

const BUSY_RETRY_MS = 5;

export interface ProgramStep {
  readonly statement: AnalyzedStatement;
  readonly args: Arguments;
  readonly wantRows: boolean;
  readonly condition: BatchCond | undefined;
}

export interface StepStats {
  readonly rowsRead: number;
  readonly rowsWritten: number;
  readonly queryDurationMs: number;
}

export type ProgramEvent =
  | { readonly type: 'begin'; readonly step: number; readonly cols: readonly Col[] }
  | { readonly type: 'rows'; readonly rows: readonly Row[] }
  | { readonly type: 'end'; readonly effect: StatementEffect; readonly stats: StepStats }
  | { readonly type: 'error'; readonly step: number; readonly error: HranaError }
  | { readonly type: 'skip'; readonly step: number };

/**
 * Runs the steps of a batch one after another and tells what happens, as the `Vm` of
 * libsql-server/src/connection/program.rs does. A statement that fails ends its step only.
 */
export async function* runProgram(
  database: ServedDatabase,
  connection: StreamConnection,
  steps: readonly ProgramStep[],
): AsyncGenerator<ProgramEvent, void> {
  const succeeded: boolean[] = [];
  let timedOut = connection.takeTimeout();
  for (const [index, step] of steps.entries()) {
    timedOut ||= connection.takeTimeout();
    if (timedOut) {
      yield { type: 'error', step: index, error: transactionTimeout().toHrana() };
      succeeded.push(false);
      continue;
    }
    if (
      step.condition !== undefined &&
      !evaluate(step.condition, succeeded, connection.isAutocommit)
    ) {
      yield { type: 'skip', step: index };
      succeeded.push(false);
      continue;
    }
    try {
      yield* runStep(database, connection, step, index);
      succeeded.push(true);
    } catch (error) {
      if (!(error instanceof ResponseError)) {
        throw error;
      }
      yield { type: 'error', step: index, error: error.toHrana() };
      succeeded.push(false);
    }
  }
}

/**
 * The reference server takes a skipped step for one that has failed: here "error" of a skipped
 * step is true, although the specification says false.
 */
function evaluate(cond: BatchCond, succeeded: readonly boolean[], isAutocommit: boolean): boolean {
  switch (cond.type) {
    case 'ok':
      return succeeded[cond.step] ?? false;
    case 'error':
      return !(succeeded[cond.step] ?? false);
    case 'not':
      return !evaluate(cond.cond, succeeded, isAutocommit);
    case 'and':
      return cond.conds.every((part) => evaluate(part, succeeded, isAutocommit));
    case 'or':
      return cond.conds.some((part) => evaluate(part, succeeded, isAutocommit));
    case 'is_autocommit':
      return isAutocommit;
  }
}

async function* runStep(
  database: ServedDatabase,
  connection: StreamConnection,
  step: ProgramStep,
  index: number,
): AsyncGenerator<ProgramEvent, void> {
  const startedAt = performance.now();
  const { statement } = step;
  const deadline = startedAt + database.limits.transactionTimeoutMs;
  database.observer.statement(statement.sql);
  const prepared = await retryBusy(database, connection, deadline, () =>
    connection.engine.prepare(statement),
  );
  yield { type: 'begin', step: index, cols: prepared.cols };

  // Only the first fetch can find the database locked: later ones hold their snapshot.
  let { run, next } = await retryBusy(database, connection, deadline, () => {
    const started = prepared.run(step.args);
    return { run: started, next: started.next() };
  });
  let rowCount = 0;
  let finished = next.done === true;
  try {
    while (next.done !== true) {
      rowCount += next.value.length;
      if (step.wantRows) {
        database.observer.rows(next.value.length);
        yield { type: 'rows', rows: next.value };
      }
      next = run.next();
    }
    finished = true;
  } catch (error) {
    finished = true;
    throw error instanceof BusyError ? busy(error) : error;
  } finally {
    if (!finished) {
      run.return({ affectedRowCount: 0, lastInsertRowid: null });
    }
    connection.noteWrite(isWrite(statement));
  }
  const effect = next.value;
  if (statement.kind === 'write' || statement.kind === 'ddl') {
    database.wrote();
  }
  yield {
    type: 'end',
    effect,
    stats: {
      // The binding does not tell how many rows were scanned: this is the least it can be.
      rowsRead: rowCount,
      rowsWritten: effect.affectedRowCount,
      queryDurationMs: Math.round((performance.now() - startedAt) * 1000) / 1000,
    },
  };
}

function isWrite(statement: AnalyzedStatement): boolean {
  return (
    statement.kind === 'write' ||
    statement.kind === 'ddl' ||
    (statement.kind === 'txn-begin' && /\b(?:IMMEDIATE|EXCLUSIVE)\b/i.test(statement.sql))
  );
}

function busy(error: BusyError): ResponseError {
  return new ResponseError(`SQLite error: ${error.message}`, 'SQLITE_BUSY');
}

/**
 * Waits for the write lock without blocking the thread. As in sqld, a transaction that has held
 * it for too long is rolled back for the one that waits.
 */
async function retryBusy<T>(
  database: ServedDatabase,
  connection: StreamConnection,
  deadline: number,
  attempt: () => T,
): Promise<T> {
  for (;;) {
    try {
      return attempt();
    } catch (error) {
      if (!(error instanceof BusyError)) {
        throw error;
      }
      const writer = database.writerOtherThan(connection);
      if (writer !== undefined && writer.writingMs >= database.limits.transactionTimeoutMs) {
        writer.forceRollback();
        continue;
      }
      const isStaleSnapshot = writer === undefined && !connection.isAutocommit;
      if (isStaleSnapshot || (writer === undefined && performance.now() >= deadline)) {
        throw busy(error);
      }
      await sleep(BUSY_RETRY_MS);
    }
  }
}

/** Counts a value as `value_json_size` of hrana/result_builder.rs does. */
function estimateValueBytes(value: SqlValue): number {
  switch (typeof value) {
    case 'bigint':
      return 29 + value.toString().length;
    case 'number':
      return 26 + formatFloat(value).length;
    case 'string':
      return 26 + Buffer.byteLength(value);
    default:
      return value === null ? 15 : value.byteLength;
  }
}

function estimateColBytes(col: Col): number {
  return 26 + Buffer.byteLength(col.name) + Buffer.byteLength(col.decltype ?? 'null');
}

/** Runs the steps and collects their results; throws when they grow beyond the limit. */
export async function collectProgram(
  database: ServedDatabase,
  connection: StreamConnection,
  steps: readonly ProgramStep[],
): Promise<BatchResult> {
  const stepResults: (StmtResult | null)[] = [];
  const stepErrors: (HranaError | null)[] = [];
  let bytes = 0;
  const count = (size: number): void => {
    bytes += size;
    if (bytes > database.limits.maxResponseBytes) {
      throw responseTooLarge();
    }
  };
  let cols: readonly Col[] = [];
  let rows: Row[] = [];
  for await (const event of runProgram(database, connection, steps)) {
    switch (event.type) {
      case 'begin':
        cols = event.cols;
        rows = [];
        for (const col of cols) {
          count(estimateColBytes(col));
        }
        break;
      case 'rows':
        for (const row of event.rows) {
          for (const value of row) {
            count(estimateValueBytes(value));
          }
          rows.push(row);
        }
        break;
      case 'end':
        stepResults.push({
          cols,
          rows,
          ...event.effect,
          ...event.stats,
          // The reference fills it in once, at the end of a program.
          replicationIndex: null,
        });
        stepErrors.push(null);
        break;
      case 'error':
        stepResults.push(null);
        stepErrors.push(event.error);
        break;
      case 'skip':
        stepResults.push(null);
        stepErrors.push(null);
        break;
    }
  }
  return { stepResults, stepErrors, replicationIndex: database.replicationIndex };
}
