import { openCache } from '../cache/reader.js';
import { StorageSyncError } from '../errors.js';
import { resolveOptions } from '../options.js';
import { inTurn } from '../source/connection.js';
import { introspect, type SourceSchema } from '../source/introspection.js';
import { connect } from '../source/open-source.js';
import { planTables } from '../source/plan.js';
import type { CommandContext } from './command-run.js';
import { EXIT_DONE } from './exit-code.js';
import { formatCount } from '../format.js';
import { cacheSettings, syncSettings, type CacheFlags, type SourceFlags } from './settings.js';
import { textTable } from './text-table.js';

interface ListedTable {
  readonly name: string;
  readonly key: readonly string[];
  readonly columns: readonly ListedColumn[];
  /** Only for the cache: counting the source's rows would mean reading them all. */
  readonly rows?: number;
  readonly indexes?: readonly string[];
}

interface ListedColumn {
  readonly name: string;
  readonly type?: string;
}

interface LeftOut {
  readonly name: string;
  readonly kind: string;
  readonly reason: string;
}

interface TableList {
  readonly from: 'cache' | 'source';
  readonly tables: readonly ListedTable[];
  readonly leftOut: readonly LeftOut[];
}

const REASONS: Readonly<Record<string, string>> = {
  view: 'a view has no key to page by',
  virtual: 'a virtual table has its rows elsewhere',
  shadow: 'it belongs to an index',
  system: "it is the database's own",
  own: "it is storage-sync's own",
};

/** `storage-sync tables`: lists the cache's tables, or with `--source` the source's. */
export async function tables(flags: SourceFlags, context: CommandContext): Promise<number> {
  const list =
    flags.source === undefined
      ? await cacheTables(flags, context)
      : await sourceTables(flags, context);
  if (context.output.json) await context.output.document(list);
  else await context.output.write(listText(list));
  return EXIT_DONE;
}

async function cacheTables(flags: CacheFlags, { secrets }: CommandContext): Promise<TableList> {
  const { cacheDir } = await cacheSettings(flags, secrets);
  const cache = openCache(cacheDir);
  try {
    const listed = cache.tables().map(({ name, keyNames, columns, rows, indexes }) => ({
      name,
      key: keyNames,
      columns: columns.map((column) => ({ name: column })),
      rows,
      indexes,
    }));
    return { from: 'cache', tables: listed, leftOut: [] };
  } finally {
    await cache.close();
  }
}

async function sourceTables(flags: SourceFlags, { secrets }: CommandContext): Promise<TableList> {
  const options = resolveOptions(await syncSettings(flags, secrets, process.env));
  const connection = await connect({ ...options, ...options.source });
  try {
    const schema = await connection.snapshot(async (query) => await introspect(inTurn(query)));
    return listSchema(schema);
  } finally {
    await connection.close();
  }
}

function listSchema(schema: SourceSchema): TableList {
  const listed: ListedTable[] = [];
  const leftOut = [...schema.others].map(([name, kind]): LeftOut => ({
    name,
    kind,
    reason: REASONS[kind] ?? 'it is no user table',
  }));
  for (const { name, columns } of schema.tables) {
    try {
      const [plan] = planTables(schema, [{ name }]).plans;
      listed.push({
        name,
        key: plan?.keyNames ?? [],
        columns: columns.map((column) => ({ name: column.name, type: column.declaredType })),
      });
    } catch (error) {
      if (!(error instanceof StorageSyncError)) throw error;
      leftOut.push({ name, kind: 'table', reason: error.message });
    }
  }
  return { from: 'source', tables: listed, leftOut };
}

function listText({ from, tables: listed, leftOut }: TableList): string {
  if (listed.length + leftOut.length === 0) return `The ${from} has no tables.\n`;
  const rows = listed.map(({ name, key, columns, rows: count }) => [
    name,
    ...(count === undefined ? [] : [formatCount(count)]),
    key.join(', '),
    columns.map((column) => column.name).join(', '),
  ]);
  const titles = [
    { title: 'table' },
    ...(from === 'cache' ? [{ title: 'rows', align: 'right' } as const] : []),
    { title: 'key' },
    { title: 'columns' },
  ];
  const text = `${textTable(titles, rows)}\n`;
  if (leftOut.length === 0) return text;
  const reasons = leftOut.map(({ name, kind, reason }) => [name, kind, reason]);
  return `${text}\n${textTable([{ title: 'left out' }, { title: 'kind' }, { title: 'why' }], reasons)}\n`;
}
