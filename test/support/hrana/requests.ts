import type { ServedDatabase, StreamConnection } from './database.js';
import { ProtocolError, ResponseError, ServerError } from './errors.js';
import { collectProgram, type ProgramStep, runProgram } from './program.js';
import type {
  Batch,
  BatchCond,
  BatchResult,
  CursorEntry,
  DescribeResult,
  HranaVersion,
  SqlRef,
  Stmt,
  StmtResult,
} from './protocol.js';
import { analyzeStatement, parseSingleStatement, parseStatements } from './sql-analysis.js';

/** What a stream's requests are executed against. */
export interface RequestContext {
  readonly database: ServedDatabase;
  readonly connection: StreamConnection;
  readonly sqls: ReadonlyMap<number, string>;
  readonly version: HranaVersion;
}

export function requireVersion(actual: HranaVersion, least: HranaVersion, what: string): void {
  if (actual < least) {
    throw new ProtocolError(
      `${what} is only supported in protocol version hrana${least} and higher`,
    );
  }
}

export function resolveSql(
  { sql, sqlId }: SqlRef,
  sqls: ReadonlyMap<number, string>,
  version: HranaVersion,
): string {
  if (sqlId !== undefined) {
    requireVersion(version, 2, '`sql_id`');
  }
  if (sql !== undefined && sqlId !== undefined) {
    throw new ProtocolError('Either `sql` or `sql_id` are required, but not both');
  }
  if (sql !== undefined) {
    return sql;
  }
  if (sqlId === undefined) {
    throw new ProtocolError('Either `sql` or `sql_id` are required');
  }
  const stored = sqls.get(sqlId);
  if (stored === undefined) {
    throw new ProtocolError(`SQL text ${sqlId} not found`);
  }
  return stored;
}

function toStep(ctx: RequestContext, stmt: Stmt, condition: BatchCond | undefined): ProgramStep {
  const statement = parseSingleStatement(resolveSql(stmt, ctx.sqls, ctx.version));
  ctx.connection.engine.checkSyntax(statement);
  if (stmt.args.length > 0 && stmt.namedArgs.length > 0) {
    throw new ResponseError(
      'Specifying both positional and named arguments is not supported',
      'ARGS_BOTH_POSITIONAL_AND_NAMED',
    );
  }
  return {
    statement,
    args: { args: stmt.args, namedArgs: stmt.namedArgs },
    wantRows: stmt.wantRows,
    condition,
  };
}

function checkCondition(cond: BatchCond, stepIndex: number, version: HranaVersion): void {
  switch (cond.type) {
    case 'ok':
    case 'error':
      if (cond.step >= stepIndex) {
        throw new ProtocolError('Invalid reference to step in a batch condition');
      }
      break;
    case 'not':
      checkCondition(cond.cond, stepIndex, version);
      break;
    case 'and':
    case 'or':
      for (const part of cond.conds) {
        checkCondition(part, stepIndex, version);
      }
      break;
    case 'is_autocommit':
      requireVersion(version, 3, 'BatchCond of type `is_autocommit`');
      break;
  }
}

function toSteps(ctx: RequestContext, batch: Batch): ProgramStep[] {
  return batch.steps.map(({ stmt, condition }, index) => {
    const step = toStep(ctx, stmt, condition);
    if (condition !== undefined) {
      checkCondition(condition, index, ctx.version);
    }
    return step;
  });
}

/** sqld checks the rights of a whole program first; a database here never allows to be attached. */
function checkRights(steps: readonly ProgramStep[]): void {
  for (const { statement } of steps) {
    if (statement.kind === 'attach') {
      const name = /^ATTACH\s+(?:DATABASE\s+)?(\S+)/i.exec(statement.sql)?.[1] ?? '';
      throw new ServerError(
        `Authorization forbidden: Namespace \`${name.replaceAll('"', '')}\` doesn't allow attach`,
        403,
      );
    }
  }
}

export async function executeStmt(ctx: RequestContext, stmt: Stmt): Promise<StmtResult> {
  const steps = [toStep(ctx, stmt, undefined)];
  checkRights(steps);
  const { stepResults, stepErrors, replicationIndex } = await collectProgram(
    ctx.database,
    ctx.connection,
    steps,
  );
  const [result] = stepResults;
  if (result === null || result === undefined) {
    const [error] = stepErrors;
    throw new ResponseError(error?.message ?? '', error?.code ?? 'UNKNOWN');
  }
  return { ...result, replicationIndex };
}

export async function executeBatch(ctx: RequestContext, batch: Batch): Promise<BatchResult> {
  const steps = toSteps(ctx, batch);
  checkRights(steps);
  return collectProgram(ctx.database, ctx.connection, steps);
}

export async function executeSequence(ctx: RequestContext, ref: SqlRef): Promise<void> {
  const sql = resolveSql(ref, ctx.sqls, ctx.version);
  const steps: ProgramStep[] = [];
  for (const statement of parseStatements(sql)) {
    ctx.connection.engine.checkSyntax(statement);
    steps.push({
      statement,
      args: { args: [], namedArgs: [] },
      wantRows: false,
      condition: steps.length === 0 ? undefined : { type: 'ok', step: steps.length - 1 },
    });
  }
  checkRights(steps);
  const { stepErrors } = await collectProgram(ctx.database, ctx.connection, steps);
  for (const error of stepErrors) {
    if (error !== null) {
      throw new ResponseError(error.message, error.code);
    }
  }
}

export function describe(ctx: RequestContext, ref: SqlRef): DescribeResult {
  const sql = resolveSql(ref, ctx.sqls, ctx.version);
  // The reference hands the text straight to the engine: what it refuses to run it describes.
  const statement = analyzeStatement(sql);
  const { cols } = ctx.connection.engine.prepare(statement);
  return {
    params: statement.params.map((name) => ({ name })),
    cols,
    isExplain: statement.isExplain,
    isReadonly:
      statement.isExplain ||
      statement.isSelect ||
      /^(?:read|savepoint|release|txn-end|detach)$/.test(statement.kind) ||
      (statement.kind === 'txn-begin' && !/\b(?:IMMEDIATE|EXCLUSIVE)\b/i.test(statement.sql)),
  };
}

/** Checks a cursor's batch now and runs it as the entries are pulled. */
export function openCursor(ctx: RequestContext, batch: Batch): AsyncGenerator<CursorEntry[], void> {
  const steps = toSteps(ctx, batch);
  checkRights(steps);
  return cursorEntries(ctx, steps);
}

async function* cursorEntries(
  ctx: RequestContext,
  steps: readonly ProgramStep[],
): AsyncGenerator<CursorEntry[], void> {
  for await (const event of runProgram(ctx.database, ctx.connection, steps)) {
    switch (event.type) {
      case 'begin':
        yield [{ type: 'step_begin', step: event.step, cols: event.cols }];
        break;
      case 'rows':
        yield event.rows.map((row) => ({ type: 'row', row }));
        break;
      case 'end':
        yield [{ type: 'step_end', ...event.effect }];
        break;
      case 'error':
        yield [{ type: 'step_error', step: event.step, error: event.error }];
        break;
      case 'skip':
        break;
    }
  }
  yield [{ type: 'replication_index', replicationIndex: ctx.database.replicationIndex }];
}
