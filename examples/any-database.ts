/**
 * Any database, with typed reading: a shop's orders with a composite key, an index, and only the newest kept. Run it
 * with `npm run build && node dist/examples/any-database.js`.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@libsql/client';
import { defineTable, StorageSync } from 'storage-sync';

const customers = defineTable({
  name: 'customers',
  columns: { id: 'integer', name: 'text', email: 'text?' },
});

const orderLines = defineTable({
  name: 'order_lines',
  columns: { order_id: 'text', line: 'integer', customer_id: 'integer', cents: 'integer' },
  key: ['order_id', 'line'],
  indexes: [{ name: 'by_customer', columns: ['customer_id'] }],
});

const events = defineTable({
  name: 'events',
  columns: { id: 'text', at: 'integer', payload: 'blob' },
  limit: { count: 2, newestBy: 'at' },
});

const directory = await mkdtemp(join(tmpdir(), 'storage-sync-example-'));
const url = `file:${join(directory, 'shop.db')}`;
const shop = createClient({ url });
await shop.executeMultiple(`
  CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, notes TEXT);
  INSERT INTO customers VALUES (1, 'Ada', 'ada@example.org', ''), (2, 'Grace', NULL, 'calls back');

  CREATE TABLE order_lines (
    order_id TEXT NOT NULL, line INTEGER NOT NULL, customer_id INTEGER NOT NULL, cents INTEGER NOT NULL,
    PRIMARY KEY (order_id, line)
  ) WITHOUT ROWID;
  INSERT INTO order_lines VALUES ('A-1', 1, 1, 1250), ('A-1', 2, 1, 300), ('A-2', 1, 2, 9900);

  CREATE TABLE events (id TEXT PRIMARY KEY NOT NULL, at INTEGER NOT NULL, payload BLOB NOT NULL);
  INSERT INTO events VALUES ('e1', 100, x'01'), ('e2', 300, x'02'), ('e3', 200, x'03');
`);

{
  await using storage = await StorageSync.open({
    source: { url },
    cacheDir: join(directory, 'cache'),
    tables: [customers, orderLines, events],
  });

  // Progress can be watched while the sync runs; awaiting the run gives its report.
  const run = storage.sync();
  for await (const { phase, rowsRead } of run) console.log(phase, rowsRead);
  console.log((await run).tables);

  // Rows have the types of their definitions: `email` is `string | null`, and there is no `notes`.
  const ada = storage.cache.table(customers).get(1);
  console.log(ada?.name.toUpperCase(), ada?.email ?? 'no address');

  // A composite key takes one argument for each column, and its leading columns make a range.
  const lines = storage.cache.table(orderLines);
  console.log(lines.get('A-1', 2)?.cents);
  console.log([...lines.range({ gte: ['A-1'], lte: ['A-1'] })]);
  console.log([...lines.byIndex('by_customer', 2)]);

  // Of the events, the newest two are kept.
  console.log(storage.cache.table(events).newest(2));

  // What changes in the source comes with the next sync; what has gone there goes from the cache.
  await shop.execute("UPDATE customers SET email = 'grace@example.org' WHERE id = 2");
  await shop.execute("DELETE FROM order_lines WHERE order_id = 'A-2'");
  const { tables } = await storage.sync();
  console.log(
    tables['customers']?.rowsWritten,
    'changed;',
    tables['order_lines']?.rowsDeleted,
    'gone',
  );

  // A snapshot sees one state of all tables, whatever a sync does meanwhile.
  using snapshot = storage.cache.snapshot();
  console.log(snapshot.tables().map(({ name, rows }) => `${name}: ${rows}`));
}

shop.close();
await rm(directory, { recursive: true });
