import type { LogState } from '../source/log-state.js';
import type { LogPosition } from '../cache/catalog.js';
import type { LogWindow } from '../source/changes.js';
import { cursorIdentity, isScoped, type TablePlan } from '../source/plan.js';
import type { VerifyContext } from './context.js';
import { IndexComparison } from './index-comparison.js';
import type { VerifyCheck, VerifyLevel } from './report.js';
import { RowComparison } from './row-comparison.js';
import { compareNewest, compareSample } from './sample.js';
import type { TableProgress } from './state-file.js';
import { TableFindings } from './table-findings.js';
import type {
  ComparedCount,
  CursorRef,
  InspectedTable,
  LogRef,
  PendingRefs,
  VerifyTarget,
} from './tasks.js';

/** One table of the cache, and how the source's is read. */
export interface TableToVerify extends PendingRefs {
  readonly inspected: InspectedTable;
  /** The source's table, with the indexes that the cache has. */
  readonly plan: TablePlan;
}

export interface TableVerifyOptions {
  readonly level: VerifyLevel;
  readonly random: () => number;
  readonly lastSyncAt: string | null;
  /** What an interrupted run left. */
  readonly from: TableProgress | null;
}

/** The logs that tell what a table does not have yet, or null. */
export function logOf(
  plan: TablePlan,
  { state }: InspectedTable,
  logs: readonly LogState[],
): LogRef | null {
  const { phase, log = null, scopes = [] } = state.checkpoint ?? {};
  const own = windowBehind(log, logs);
  const windows = scopes.flatMap((position) => windowBehind(position, logs) ?? []);
  if (phase !== 'complete' || own === null || windows.length < plan.scopes.length) return null;
  return { own, scopes: windows };
}

function windowBehind(position: LogPosition | null, logs: readonly LogState[]): LogWindow | null {
  const log = logs.find(({ logId }) => logId === position?.id);
  if (position === null || log === undefined) return null;
  const isKept = position.version >= log.compacted && position.version <= log.version;
  return isKept ? { log: log.number, logId: log.logId, after: position.version } : null;
}

/** The cursor by which a table is brought up to date, or null. */
export function cursorOf(plan: TablePlan, { state }: InspectedTable): CursorRef | null {
  const { cursor = null, log = null } = state.checkpoint ?? {};
  const isFollowed = log === null && cursor?.problem === null && cursor.of === cursorIdentity(plan);
  return isFollowed ? { from: cursor.from } : null;
}

/** Verifies one table at one level. */
export class TableVerify {
  readonly findings: TableFindings;
  readonly #context: VerifyContext;
  readonly #table: TableToVerify;
  readonly #options: TableVerifyOptions;
  readonly #target: VerifyTarget;
  readonly #rows: RowComparison;
  #done = false;

  constructor(context: VerifyContext, table: TableToVerify, options: TableVerifyOptions) {
    const { inspected, plan, log, cursor } = table;
    this.#table = table;
    this.#options = options;
    this.findings = new TableFindings(options.from?.findings);
    // Half of a table may be of one sync and half of another: what is added to either would be swept by neither.
    const repairs = inspected.state.checkpoint?.phase === 'complete';
    if (context.repair && !repairs) {
      this.findings.note('Nothing was repaired: a sync of it was interrupted. Sync first.');
    }
    this.#context = repairs ? context : { ...context, repair: null };
    this.#target = {
      source: context.source,
      generation: context.generation,
      tableId: inspected.table.id,
      plan,
    };
    this.#rows = new RowComparison(
      this.#context,
      this.#target,
      { log, cursor },
      inspected.entries,
      this.findings,
    );
  }

  async run(): Promise<void> {
    const { level, from } = this.#options;
    if (from?.done) {
      this.#done = true;
      return;
    }
    if (level === 'deep') await this.#compareAll();
    else await this.#compareSome();
    await this.#settleBooks();
    this.#tellOfPending();
    this.#done = this.findings.complete;
  }

  /** How far it has come, for the next run. */
  save(): TableProgress {
    const findings = this.findings.save(this.#done);
    return { findings, done: this.#done, ...this.#rows.save() };
  }

  async #compareAll(): Promise<void> {
    const { findings } = this;
    const compared = await this.#rows.run(this.#options.from);
    if (compared) {
      await this.#compareIndexes();
    } else {
      findings.complete = false;
      findings.unverifiedBehind = this.#rows.unverifiedBehind();
      findings.note('maxSourceRows was reached: the next deep verify goes on from here.');
    }
  }

  /** The newest rows, those of a sample, and then, when rows may have been repaired, how many there are. */
  async #compareSome(): Promise<void> {
    const { level, random } = this.#options;
    const { entries } = this.#table.inspected;
    const sampled = { context: this.#context, target: this.#target, rows: this.#rows, entries };
    const complete =
      level === 'sample' ? await compareSample(sampled, random) : await compareNewest(sampled);
    if (!complete) this.#skip('Some rows were left out');
    if (this.#affords(this.#table.inspected.entries)) await this.#compareCount();
  }

  async #compareCount(): Promise<void> {
    const { pool, budget } = this.#context;
    const { log, cursor } = this.#table;
    const counted = await pool.read('compareCount', { ...this.#target, log });
    budget.spend(counted.source);
    const { entries, quarantined, state } = await this.#inspect();
    const expected = counted.source - (counted.growth ?? 0);
    // What was set aside may have been put right since: only a sync in full counts it anew.
    const setAside = state.checkpoint?.log ? [0, quarantined] : [quarantined, quarantined];
    const lacking = expected - entries;
    const agrees = lacking >= setAside[0]! && lacking <= setAside[1]!;
    const detail = countText(counted, entries, quarantined);
    const mayHaveGrown = (log !== null && counted.growth === null) || cursor !== null;
    if (mayHaveGrown && !agrees) {
      this.findings.note(`The counts cannot be compared: ${detail}.`);
    } else this.findings.check({ check: 'rows', passed: agrees, detail });
  }

  /** Holds what the cache says of itself against what it has, before and after repairs. */
  async #settleBooks(): Promise<void> {
    const { findings } = this;
    const before = books(this.#table.inspected);
    let after = before;
    if (this.#context.repair && before.some(({ passed }) => !passed)) {
      after = books(await this.#inspect());
      if (!isGiven(after, RECORDS)) await this.#repairCount();
      const entriesLack = !isGiven(after, INDEX_ENTRIES) && this.#options.level !== 'deep';
      if (entriesLack) await this.#compareIndexes();
      after = books(await this.#inspect());
    }
    for (const [i, check] of after.entries()) {
      findings.check(check, check.passed && !before[i]!.passed);
    }
    this.#tellOfIndexes();
  }

  async #repairCount(): Promise<void> {
    const { pool, generation } = this.#context;
    await pool.write('repairCount', { generation, tableId: this.#target.tableId });
  }

  async #compareIndexes(): Promise<void> {
    const { inspected } = this.#table;
    await new IndexComparison(this.#context, inspected, this.findings).run();
  }

  async #inspect(): Promise<InspectedTable> {
    const { pool, source, generation } = this.#context;
    const { tables } = await pool.read('inspectCache', { source, generation });
    return tables.find(({ table }) => table.id === this.#target.tableId)!;
  }

  #tellOfIndexes(): void {
    const { table, indexes } = this.#table.inspected;
    for (const [at, index] of table.plan.indexes.entries()) {
      const name = JSON.stringify(index.name);
      const state = indexes[at];
      if (!state?.complete) {
        this.findings.note(
          `The index ${name} is not built yet, and was not looked at: sync first.`,
        );
      } else if (state.violation !== null) {
        this.findings.note(`Rows of the source violate the unique index ${name}.`);
      }
    }
  }

  #tellOfPending(): void {
    const { log, cursor, inspected } = this.#table;
    const { pending, differences } = this.findings.report();
    if (pending > 0) {
      this.findings.note(pendingNote(this.#table));
    }
    if (inspected.state.checkpoint?.phase !== 'complete') {
      this.findings.note(
        'A sync of it was interrupted: rows that it has not come to are as the one before left them.',
      );
    }
    if (log !== null || Object.values(differences).every((count) => count === 0)) return;
    const since = this.#options.lastSyncAt ?? 'the last sync';
    this.findings.note(
      cursor
        ? `It is followed by its cursor, which does not tell of rows that were deleted after ${since}.`
        : `The source keeps no change log of it that the cache follows: rows may also have been changed there after ${since}.`,
    );
  }

  #affords(rows: number): boolean {
    if (this.#context.budget.left >= rows) return true;
    this.#skip('Some was not looked at');
    return false;
  }

  #skip(what: string): void {
    this.findings.complete = false;
    this.findings.note(`${what}: maxSourceRows leaves too little for it.`);
  }
}

function pendingNote({ plan, cursor }: TableToVerify): string {
  if (cursor) {
    return 'Rows are pending: they lie behind the value of their cursor from which the next sync reads.';
  }
  return isScoped(plan)
    ? 'Rows are pending: the next sync looks at them, for they or others around a limit changed.'
    : 'Rows are pending: the change log of the source names them, and the next sync brings them.';
}

const RECORDS = 'records';
const INDEX_ENTRIES = 'index entries';

/** What the cache says of itself, held against what LMDB has. */
function books({ state, entries, indexes, indexEntries, table }: InspectedTable): VerifyCheck[] {
  const checks: VerifyCheck[] = [
    {
      check: RECORDS,
      passed: entries === state.rows,
      detail: `${entries} records in the cache, which says it has ${state.rows}`,
    },
  ];
  const isWhole = indexes.every((index) => index?.complete) && table.droppedIndexes.length === 0;
  if (!isWhole || indexes.length === 0) return checks;
  const expected = entries * indexes.length;
  const detail = `${indexEntries} index entries, ${expected} for ${entries} records`;
  checks.push({ check: INDEX_ENTRIES, passed: indexEntries === expected, detail });
  return checks;
}

function isGiven(checks: readonly VerifyCheck[], name: string): boolean {
  return checks.every(({ check, passed }) => check !== name || passed);
}

function countText(
  { source, pendingChanges }: ComparedCount,
  stored: number,
  quarantined: number,
): string {
  const aside = quarantined > 0 ? `, ${quarantined} set aside` : '';
  const pending = pendingChanges ? `, ${pendingChanges} changes pending` : '';
  return `${source} rows in the source, ${stored} in the cache${aside}${pending}`;
}
