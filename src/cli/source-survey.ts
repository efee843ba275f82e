import { SourceError } from '../errors.js';
import { memoryPreset } from '../memory/preset.js';
import { readLogStates } from '../source/log-state.js';
import { inTurn, type Query, type SourceConnection } from '../source/connection.js';
import {
  foldName,
  introspect,
  type SchemaTable,
  type SourceSchema,
} from '../source/introspection.js';
import { planTables } from '../source/plan.js';
import { quoteIdentifier } from '../source/sql.js';

/** What there is to sync in a source. */
export interface SourceSurvey {
  readonly tables: readonly SurveyedTable[];
  readonly leftOut: readonly { readonly name: string; readonly reason: string }[];
  /** Whether it has the tables of the agent-memory preset. */
  readonly isMemory: boolean;
}

export interface SurveyedTable {
  readonly name: string;
  readonly key: readonly string[];
  /** About how many rows there are; null where it would cost too much to tell. */
  readonly rows: number | null;
  /** True where there are more rows than were counted. */
  readonly hasMoreRows: boolean;
  /** Whether a change log tells its changes. */
  readonly isLogged: boolean;
  /** A column that its writers seem to raise with each change, or null. */
  readonly cursor: string | null;
}

/** Rows of a file that are counted. */
const MOST_COUNTED = 100_000;

/** Columns that hold when a row was changed, or how often, by what they are called; the likeliest first. */
const CURSOR_NAMES = [
  /^(last_?)?(updated|modified|changed)(_?(at|on|time|date|ts|ms))?$/i,
  /^(row_?)?(version|revision|rev)$/i,
];

/** Looks at the schema, the change logs, and how large tables are where that is cheap. */
export async function surveySource(connection: SourceConnection): Promise<SourceSurvey> {
  return await connection.snapshot(async (query) => {
    const schema = await introspect(inTurn(query));
    const logs = await readLogStates(inTurn(query), schema);
    const logged = new Set(logs.map(({ table }) => foldName(table)));
    const tables: SurveyedTable[] = [];
    const leftOut: { name: string; reason: string }[] = [];
    for (const table of schema.tables) {
      const { name } = table;
      const planned = keyOf(schema, name);
      if (planned instanceof SourceError) {
        leftOut.push({ name, reason: planned.message });
        continue;
      }
      const rows = connection.stored ? await countedRows(query, name) : null;
      tables.push({
        name,
        key: planned,
        rows: rows === null ? null : Math.min(rows, MOST_COUNTED),
        hasMoreRows: rows !== null && rows > MOST_COUNTED,
        isLogged: logged.has(foldName(name)),
        cursor: cursorOf(table),
      });
    }
    for (const [name, kind] of schema.others) {
      if (kind === 'view') leftOut.push({ name, reason: 'A view has no key to page by.' });
      if (kind === 'virtual')
        leftOut.push({ name, reason: 'A virtual table has its rows elsewhere.' });
    }
    return { tables, leftOut, isMemory: hasMemory(schema) };
  });
}

function keyOf(schema: SourceSchema, name: string): readonly string[] | SourceError {
  try {
    return planTables(schema, [{ name }]).plans[0]!.keyNames;
  } catch (error) {
    if (error instanceof SourceError) return error;
    throw error;
  }
}

function hasMemory(schema: SourceSchema): boolean {
  try {
    planTables(
      schema,
      memoryPreset().tables?.filter((table) => typeof table !== 'string'),
    );
    return true;
  } catch (error) {
    if (error instanceof SourceError) return false;
    throw error;
  }
}

async function countedRows(query: Query, name: string): Promise<number> {
  const rows = `SELECT 1 FROM main.${quoteIdentifier(name)} LIMIT ${MOST_COUNTED + 1}`;
  const [row] = await query(`SELECT count(*) FROM (${rows})`);
  return Number(row![0]);
}

function cursorOf({ columns, primaryKey }: SchemaTable): string | null {
  // A key does not change with its row.
  const others = columns.filter(
    ({ name, affinity, generated }) =>
      !primaryKey.includes(name) && affinity !== 'blob' && !generated,
  );
  for (const pattern of CURSOR_NAMES) {
    const found = others.find(({ name }) => pattern.test(name));
    if (found) return found.name;
  }
  return null;
}
