import { setImmediate } from 'node:timers/promises';
import type { Environment } from '../cache/environment.js';
import { decodeRecord, recordIsSound } from '../cache/record.js';
import type { ValidationCheck } from '../report.js';
import type { Query } from '../source/connection.js';
import { foldName, type TextEncoding } from '../source/introspection.js';
import type { TablePlan } from '../source/plan.js';
import { exactCell } from '../source/projection.js';
import { decodeExact } from '../source/sql-page.js';
import { quoteIdentifier } from '../source/sql.js';
import { keyBound, MAX_KEY_BYTES, writeKey } from '../transform/key-codec.js';
import type { Checksum } from '../transform/checksum.js';
import { describeValue, type SqlValue } from '../values.js';

/** A cached table to look at. */
export interface ValidatedTable {
  readonly tableId: number;
  readonly plan: TablePlan;
  /** True when the sync read the table in full: then its source can be counted at no greater cost. */
  readonly inFull: boolean;
}

/** Rows that are looked at between two turns of the thread's other work. */
const ROWS_PER_TURN = 1000;
/** Embeddings that are looked at: the check is to cost little. */
const MAX_EMBEDDINGS = 100_000;
/** Items whose whereabouts are asked of the source. */
const MAX_ITEMS_ASKED = 1000;
const ITEMS_PER_QUERY = 100;
/** Keys named in a check's detail. */
const MAX_NAMED = 3;
const BYTES_PER_FLOAT = 4;

/**
 * Checks what an agent-memory database promises of its rows beyond each for itself: patterns of each type are as many
 * as in the source; embeddings are of items that there are, and their dimension, model and vector agree.
 */
export async function validateMemory(
  environment: Environment,
  checksum: Checksum,
  query: Query,
  tables: readonly ValidatedTable[],
  signal: AbortSignal,
): Promise<ValidationCheck[]> {
  const view = new MemoryView(environment, checksum, tables, signal);
  const checks: ValidationCheck[] = [];
  const patterns = view.table('patterns');
  if (patterns?.inFull) checks.push(await patternCounts(view, query, patterns));
  for (const embeddings of tables.filter(isEmbeddings)) {
    const facts = await readEmbeddings(view, embeddings);
    checks.push(await orphans(view, query, embeddings, facts));
    checks.push(vectors(embeddings, facts));
  }
  return checks;
}

type Visit = (cell: (column: string) => SqlValue) => void;

/** The cached rows of the preset's tables. */
class MemoryView {
  readonly #environment: Environment;
  readonly #checksum: Checksum;
  readonly #tables: readonly ValidatedTable[];
  readonly #signal: AbortSignal;

  constructor(
    environment: Environment,
    checksum: Checksum,
    tables: readonly ValidatedTable[],
    signal: AbortSignal,
  ) {
    this.#environment = environment;
    this.#checksum = checksum;
    this.#tables = tables;
    this.#signal = signal;
  }

  table(name: string): ValidatedTable | undefined {
    return this.#tables.find(({ plan }) => foldName(plan.name) === name);
  }

  has(table: ValidatedTable, key: SqlValue): boolean {
    const buffer = Buffer.allocUnsafe(keyBound([key]));
    const length = writeKey(buffer, 0, [key]);
    const rows = this.#environment.rows(table.tableId);
    return length <= MAX_KEY_BYTES && rows.doesExist(buffer.subarray(0, length));
  }

  /** Visits rows in the order of their keys, `maxRows` at most, and tells whether there were more. */
  async visit({ tableId, plan }: ValidatedTable, maxRows: number, visit: Visit): Promise<boolean> {
    let after: Buffer | null = null;
    for (let visited = 0; visited < maxRows; visited += ROWS_PER_TURN) {
      this.#signal.throwIfAborted();
      this.#environment.refresh();
      const last: Buffer | null = this.#visitSome(tableId, plan, after, visit);
      if (last === null) return false;
      after = last;
      await setImmediate();
    }
    return true;
  }

  /** @returns the last key, or null at the table's end. */
  #visitSome(tableId: number, plan: TablePlan, after: Buffer | null, visit: Visit): Buffer | null {
    const start = after === null ? {} : { start: after, exclusiveStart: true };
    const positions = new Map(plan.columns.map(({ name }, at) => [foldName(name), at]));
    let rows = 0;
    let last: Buffer | null = null;
    const range = this.#environment.rows(tableId).getRange({ ...start, limit: ROWS_PER_TURN });
    for (const { key, value } of range) {
      last = Buffer.from(key);
      rows++;
      // What a damaged record says is worth nothing; finding it is for a verify.
      if (!recordIsSound(this.#checksum, key, value, value.length)) continue;
      const row = decodeRecord(value, value.length);
      visit((column) => row[positions.get(column) ?? -1] ?? null);
    }
    return rows < ROWS_PER_TURN ? null : last;
  }
}

async function patternCounts(
  view: MemoryView,
  query: Query,
  patterns: ValidatedTable,
): Promise<ValidationCheck> {
  const table = patterns.plan.name;
  const cached = new Map<string, number>();
  await view.visit(patterns, Infinity, (cell) => {
    const type = describeValue(cell('pattern_type'));
    cached.set(type, (cached.get(type) ?? 0) + 1);
  });
  const found = await query(
    `SELECT ${exactCell('pattern_type')}, count(*) FROM main.${quoteIdentifier(table)} GROUP BY 1`,
  );
  const { encoding } = patterns.plan;
  const source = new Map(found.map(([type, count]) => [exactText(type!, encoding), Number(count)]));
  const wrong = [...new Set([...cached.keys(), ...source.keys()])].filter(
    (type) => cached.get(type) !== source.get(type),
  );
  const detail =
    wrong.length === 0
      ? `${cached.size} types of patterns, as many of each as in the source`
      : `not as many as in the source of the types ${wrong
          .slice(0, MAX_NAMED)
          .map((type) => `${type} (${cached.get(type) ?? 0}, ${source.get(type) ?? 0} there)`)
          .join(', ')}; the source may have been written since`;
  return { table, check: 'pattern types', passed: wrong.length === 0, detail };
}

/** A value that was asked for in its exact form, for people. */
function exactText(value: SqlValue, encoding: TextEncoding): string {
  return describeValue(decodeExact([value], encoding)[0]!);
}

/** What is to be known of a table of embeddings. */
interface EmbeddingFacts {
  /** Items that the cache does not have, with the number of their embeddings. */
  readonly missing: ReadonlyMap<
    string,
    { readonly type: string; readonly id: SqlValue; count: number }
  >;
  readonly wrongVectors: readonly string[];
  readonly mixedModels: readonly string[];
  readonly rows: number;
  readonly isWhole: boolean;
}

async function readEmbeddings(
  view: MemoryView,
  embeddings: ValidatedTable,
): Promise<EmbeddingFacts> {
  const missing = new Map<string, { type: string; id: SqlValue; count: number }>();
  const wrongVectors: string[] = [];
  const dimensions = new Map<string, Set<string>>();
  let rows = 0;
  const named = dimensionInName(embeddings.plan.name);
  const more = await view.visit(embeddings, MAX_EMBEDDINGS, (cell) => {
    rows++;
    const type = String(cell('item_type'));
    const id = cell('item_id');
    const items = view.table(`${type}s`);
    if (items && !view.has(items, id)) {
      const item = `${type} ${describeValue(id)}`;
      const known = missing.get(item) ?? { type, id, count: 0 };
      known.count++;
      missing.set(item, known);
    }
    const dimension = cell('dimension');
    const agrees = vectorAgrees(dimension, cell('embedding_vector'), cell('embedding_data'));
    if (!agrees || (named !== null && dimension !== named)) {
      wrongVectors.push(describeValue(cell('embedding_id')));
    }
    const model = describeValue(cell('model'));
    const known = dimensions.get(model) ?? new Set();
    dimensions.set(model, known.add(describeValue(dimension)));
  });
  const mixedModels = [...dimensions].filter(([, set]) => set.size > 1).map(([model]) => model);
  return { missing, wrongVectors, mixedModels, rows, isWhole: !more };
}

/** Whether a vector has as many values as it says: four bytes each in the BLOB, or else in the JSON array. */
function vectorAgrees(dimension: SqlValue, vector: SqlValue, data: SqlValue): boolean {
  if (typeof dimension !== 'number' || dimension <= 0) return false;
  if (vector instanceof Uint8Array) return vector.byteLength === BYTES_PER_FLOAT * dimension;
  if (typeof data !== 'string') return true;
  try {
    const values: unknown = JSON.parse(data);
    return !Array.isArray(values) || values.length === 0 || values.length === dimension;
  } catch {
    return false;
  }
}

/** Looks for the items that the cache does not have: without one in the source either, an embedding is an orphan there. */
async function orphans(
  view: MemoryView,
  query: Query,
  { plan }: ValidatedTable,
  { missing, rows, isWhole }: EmbeddingFacts,
): Promise<ValidationCheck> {
  const asked = [...missing.values()].slice(0, MAX_ITEMS_ASKED);
  const lacking: string[] = [];
  let orphaned = 0;
  for (const type of new Set(asked.map((item) => item.type))) {
    const items = asked.filter((item) => item.type === type);
    const there = await itemsInSource(query, view.table(`${type}s`)!.plan, items);
    for (const { id, count } of items) {
      const name = describeValue(id);
      if (there.has(name)) lacking.push(`${type} ${name}`);
      else orphaned += count;
    }
  }
  const extent = isWhole && asked.length === missing.size ? '' : '; not all were looked at';
  const own = orphaned === 0 ? '' : `, ${orphaned} of items that the source does not have either`;
  return {
    table: plan.name,
    check: 'orphaned embeddings',
    passed: lacking.length === 0,
    detail:
      lacking.length === 0
        ? `${rows} embeddings${own}${extent}`
        : `embeddings of items that the source has and the cache does not: ${list(lacking)}${own}${extent}; the source may have been written meanwhile`,
  };
}

async function itemsInSource(
  query: Query,
  { name, keyNames, encoding }: TablePlan,
  items: readonly { readonly id: SqlValue }[],
): Promise<Set<string>> {
  const key = quoteIdentifier(keyNames[0]!);
  const found = new Set<string>();
  for (let at = 0; at < items.length; at += ITEMS_PER_QUERY) {
    const ids = items.slice(at, at + ITEMS_PER_QUERY).map(({ id }) => id);
    const marks = ids.map(() => '?').join(', ');
    const rows = await query(
      `SELECT ${exactCell(key)} FROM main.${quoteIdentifier(name)} WHERE ${key} IN (${marks})`,
      ids,
    );
    for (const [id] of rows) found.add(exactText(id!, encoding));
  }
  return found;
}

function vectors(
  { plan }: ValidatedTable,
  { wrongVectors, mixedModels, rows, isWhole }: EmbeddingFacts,
): ValidationCheck {
  const wrong = [
    ...(wrongVectors.length > 0
      ? [`${wrongVectors.length} vectors are not of their dimension: ${list(wrongVectors)}`]
      : []),
    ...(mixedModels.length > 0
      ? [`models have vectors of several dimensions: ${list(mixedModels)}`]
      : []),
  ];
  const extent = isWhole ? '' : '; not all were looked at';
  return {
    table: plan.name,
    check: 'embedding dimensions',
    passed: wrong.length === 0,
    detail: `${wrong.length === 0 ? `${rows} embeddings` : wrong.join('; ')}${extent}`,
  };
}

function list(names: readonly string[]): string {
  return names.slice(0, MAX_NAMED).join(', ') + (names.length > MAX_NAMED ? ', …' : '');
}

function isEmbeddings({ plan }: ValidatedTable): boolean {
  return foldName(plan.name).startsWith('embeddings');
}

/** `embeddings_384` holds vectors of that dimension. */
function dimensionInName(table: string): number | null {
  const [, digits] = /_(\d+)$/.exec(table) ?? [];
  return digits === undefined ? null : Number(digits);
}
