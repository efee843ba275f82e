import type { Query, Statement } from './connection.js';
import { foldName, OWN_TABLE_PREFIX, type SourceSchema } from './introspection.js';
import { quoteIdentifier } from './sql.js';

/** The change log of one table, as far as a reader needs to know it. */
export interface LogState {
  readonly table: string;
  /** Names the log's own table. */
  readonly number: number;
  /** Another one after each install. */
  readonly logId: string;
  readonly key: readonly string[];
  /** The newest change. */
  readonly version: number;
  /** Changes up to this one were removed. */
  readonly compacted: number;
  /** Up to which version each reader said it has all changes. */
  readonly readers: Readonly<Record<string, number>>;
}

/** The log format that this version reads. */
const LOG_FORMAT = 1;
/** Without one of these, changes of a kind go unnoticed. */
const TRIGGERS = ['insert', 'update', 'delete'];

/** Where readers say how far they have come. */
const READERS = `${OWN_TABLE_PREFIX}reader`;

/** A statement that says how far a reader has come in a log. */
export function acknowledgement(reader: string, log: number, version: number): Statement {
  return {
    sql:
      `INSERT INTO main.${READERS} (reader, id, version, seen_at) VALUES (?, ?, ?, ?) ` +
      `ON CONFLICT (reader, id) DO UPDATE SET version = excluded.version, seen_at = excluded.seen_at`,
    params: [reader, log, version, Date.now()],
  };
}

/** The name of a log's own table. */
export function logTable(number: number): string {
  return `${OWN_TABLE_PREFIX}log_${number}`;
}

/**
 * The change logs that can be relied on: those whose triggers all stand on the table that they were made for.
 *
 * Three statements where there are logs, and none where there are not.
 */
export async function readLogStates(query: Query, schema: SourceSchema): Promise<LogState[]> {
  const registry = `${OWN_TABLE_PREFIX}capture`;
  if (!schema.others.has(registry)) return [];
  const registered = await query(
    `SELECT c.id, c.table_name, c.key, c.log_id, c.compacted,
            (SELECT group_concat(s.name || ' ' || s.tbl_name, char(10)) FROM main.sqlite_schema AS s
             WHERE s.type = 'trigger' AND s.name LIKE '${OWN_TABLE_PREFIX.replaceAll('_', '\\_')}log\\_' || c.id || '\\_%' ESCAPE '\\')
     FROM main.${quoteIdentifier(registry)} AS c WHERE c.format = ${LOG_FORMAT} ORDER BY c.id`,
  );
  const found: Omit<LogState, 'version' | 'readers'>[] = [];
  for (const [id, table, key, logId, compacted, triggers] of registered) {
    const number = Number(id);
    const name = String(table);
    const standing = new Set(String(triggers ?? '').split('\n'));
    const whole = TRIGGERS.every((kind) =>
      standing.has(`${logTable(number)}_${kind} ${tableName(schema, name)}`),
    );
    if (!whole || !schema.others.has(logTable(number))) continue;
    found.push({
      table: name,
      number,
      logId: String(logId),
      key: JSON.parse(String(key)) as string[],
      compacted: Number(compacted),
    });
  }
  if (found.length === 0) return [];
  const versions = await query(
    `SELECT ${found.map(({ number }) => `(SELECT max(version) FROM main.${logTable(number)})`).join(', ')}`,
  );
  const readers = schema.others.has(READERS)
    ? await query(`SELECT reader, id, version FROM main.${READERS}`)
    : [];
  return found.map((log, i) => ({
    ...log,
    version: Number(versions[0]![i] ?? 0),
    readers: Object.fromEntries(
      readers
        .filter(([, id]) => Number(id) === log.number)
        .map(([reader, , version]) => [String(reader), Number(version)]),
    ),
  }));
}

/** The name by which the source knows a table now. */
function tableName(schema: SourceSchema, name: string): string {
  const folded = foldName(name);
  return schema.tables.find((table) => foldName(table.name) === folded)?.name ?? name;
}
