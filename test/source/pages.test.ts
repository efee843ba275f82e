import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import fc from '../support/fast-check.js';
import { openSource, StorageSync, WorkerPool, type TableDefinition } from '../../src/index.js';
import { assertCacheEquals, recordDigests } from '../support/compare.js';
import {
  bytes,
  changeDatabase,
  insert,
  openDatabase,
  quote,
  type Insertable,
  type NativeDatabase,
} from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

const SEED = 990_017;

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

const types = [
  '',
  'INTEGER',
  'TEXT',
  'REAL',
  'BLOB',
  'NUMERIC',
  'VARCHAR(9)',
  'TEXT COLLATE NOCASE',
] as const;
const names = [
  'id',
  'a',
  'Key',
  'select',
  'x y',
  'é"',
  '😀',
  'rowid',
  'v0',
  '_rowid_',
  '0',
] as const;

const cell: fc.Arbitrary<Insertable> = fc.oneof(
  fc.constantFrom<Insertable>(
    null,
    '',
    'a',
    'A',
    'b',
    'a\0',
    '1',
    1n,
    2n,
    -0.0,
    1,
    1.5,
    Infinity,
    -Infinity,
    2n ** 53n + 1n,
    Buffer.of(),
    Buffer.of(0),
  ),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.double({ noNaN: true }),
  fc.string({ unit: 'grapheme', maxLength: 12 }),
  fc.uint8Array({ maxLength: 12 }),
  fc.constantFrom('x'.repeat(3000), 'é\0'.repeat(2500), bytes(9000, 5)),
);

const schema = fc
  .record({
    columns: fc.uniqueArray(
      fc.record({
        name: fc.constantFrom(...names),
        type: fc.constantFrom(...types),
        notNull: fc.boolean(),
      }),
      {
        minLength: 1,
        maxLength: 6,
        selector: (column) => column.name,
      },
    ),
    key: fc.array(fc.nat(5), { maxLength: 3 }),
    descending: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }),
    withoutRowid: fc.boolean(),
  })
  .map(({ columns, key, descending, withoutRowid }) => {
    const keyColumns = [...new Set(key.map((at) => columns[at % columns.length]!.name))];
    const list = columns.map(
      ({ name, type, notNull }) => `${quote(name)} ${type}${notNull ? ' NOT NULL' : ''}`,
    );
    const terms = keyColumns.map((name, i) => `${quote(name)}${descending[i] ? ' DESC' : ''}`);
    const primary = terms.length > 0 ? `, PRIMARY KEY (${terms.join(', ')})` : '';
    const without = withoutRowid && terms.length > 0 ? ' WITHOUT ROWID' : '';
    return { width: columns.length, ddl: `(${list.join(', ')}${primary})${without}` };
  });

const database = fc.array(
  schema.chain(({ width, ddl }) =>
    fc.record({
      ddl: fc.constant(ddl),
      rows: fc.array(fc.array(cell, { minLength: width, maxLength: width }), { maxLength: 25 }),
    }),
  ),
  { minLength: 1, maxLength: 3 },
);

/** Inserts row by row: OR IGNORE does not spare a value that cannot be a rowid. */
function insertWhatFits(
  db: NativeDatabase,
  table: string,
  rows: readonly (readonly Insertable[])[],
): void {
  for (const row of rows) {
    try {
      const marks = row.map(() => '?').join(', ');
      const values = row.map((value) => (value instanceof Uint8Array ? Buffer.from(value) : value));
      db.prepare(`INSERT OR IGNORE INTO ${table} VALUES (${marks})`).run(values);
    } catch (error) {
      assert.match(String(error), /mismatch/);
    }
  }
}

void describe('any schema with any rows', () => {
  void it(`is cached the same by small pages, from a file and over http (seed ${SEED})`, async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, 'PRAGMA journal_mode = WAL');
    await using server = await startHranaServer({ file });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        database,
        fc.constantFrom(1, 2, 3, 7),
        fc.constantFrom(4096, 10_000, 4_000_000),
        async (tables, batchSize, maxPageBytes) => {
          const caches = `run ${run++}`;
          changeDatabase(file, (db) => {
            for (let at = 0; at < 3; at++) db.exec(`DROP TABLE IF EXISTS t${at}`);
            for (const [at, { ddl, rows }] of tables.entries()) {
              db.exec(`CREATE TABLE t${at} ${ddl}`);
              insertWhatFits(db, `t${at}`, rows);
            }
          });
          // A key of large values has no place in the cache; a table whose columns hide the rowid may have none.
          const bounds = { batchSize, maxPageBytes, onRowError: 'quarantine', pool } as const;
          const digests: unknown[] = [];
          for (const [way, url, transport] of [
            ['file', `file:${file}`, 'auto'],
            ['http', server.httpUrl, 'auto'],
            ['http in JSON', server.httpUrl, 'http-json-cursor'],
            ['http by pipeline', server.httpUrl, 'http-pipeline'],
          ] as const) {
            const cacheDir = dir.join(caches, way);
            const source = { url };
            await using storage = await StorageSync.open({
              source,
              transport,
              cacheDir,
              ...bounds,
            });
            for (let round = 0; round < 2; round++) {
              const report = await storage.sync();
              const counts = Object.values(report.tables);
              const whole = counts.every(({ rowsQuarantined }) => rowsQuarantined === 0);
              if (whole && counts.length === tables.length)
                await assertCacheEquals(file, cacheDir, { way });
              if (round === 1)
                for (const { rowsWritten, rowsDeleted } of counts)
                  assert.equal(rowsWritten + rowsDeleted, 0);
            }
            digests.push(await recordDigests(cacheDir));
          }
          for (const each of digests) assert.deepEqual(each, digests[0]);
        },
      ),
      { seed: SEED, numRuns: 14 },
    );
  });
});

/** Reads a table page by page, with a change of the source after each page; gives the keys in the order they came. */
async function readWhile(
  file: string,
  url: string,
  table: TableDefinition,
  options: { readonly maxRows: number; readonly maxBytes?: number },
  change: (db: NativeDatabase, page: number) => void,
): Promise<unknown[]> {
  await using source = await openSource({ url });
  const db = openDatabase(file);
  try {
    const keys: unknown[] = [];
    let page = 0;
    for await (const { rows } of source.pages(table, options)) {
      for (const row of rows) keys.push(row[0] instanceof Uint8Array ? String(row[0]) : row[0]);
      if (page < 150) change(db, page);
      page++;
      if (page > 2000) assert.fail('it never ends');
    }
    return keys;
  } finally {
    db.close();
  }
}

/** Asserts that each of these came, and none came twice. */
function assertOnceEach(keys: readonly unknown[], stayed: Iterable<unknown>): void {
  assert.equal(new Set(keys).size, keys.length, 'none is doubled');
  const seen = new Set(keys.map(String));
  for (const key of stayed) assert.ok(seen.has(String(key)), `${String(key)} is missed`);
}

void describe('pages of a table that changes meanwhile', () => {
  for (const way of ['file', 'http'] as const) {
    for (const maxRows of way === 'file' ? [1, 3] : [2, 7]) {
      void it(`miss nothing that stayed and double nothing: ${way}, by ${maxRows}`, async () => {
        await using dir = await TempDirectory.make();
        const file = dir.join('source.db');
        changeDatabase(file, (db) => {
          db.exec(`PRAGMA journal_mode = WAL; CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v);
                   CREATE TABLE c (id INTEGER, at INTEGER, v, PRIMARY KEY (at, id)) WITHOUT ROWID;
                   CREATE TABLE r (v);`);
          insert(
            db,
            't',
            Array.from({ length: 60 }, (_, i) => [`k${String(i).padStart(3, '0')}`, 0n]),
          );
          insert(
            db,
            'c',
            Array.from({ length: 60 }, (_, i) => [BigInt(i), BigInt(Math.floor(i / 9)), 0n]),
          );
          insert(
            db,
            'r',
            Array.from({ length: 60 }, (_, i) => [BigInt(i)]),
          );
        });
        await using server = await startHranaServer({ file });
        const url = way === 'file' ? `file:${file}` : server.httpUrl;
        // Every third key goes at some time, others are updated or join between.
        const texts = await readWhile(file, url, { name: 't' }, { maxRows }, (db, page) => {
          db.exec(`DELETE FROM t WHERE k = 'k' || printf('%03d', ${(page * 12) % 60});
                   UPDATE t SET v = v + 1 WHERE abs(substr(k, 2, 3) - ${page * maxRows}) < 3;
                   INSERT OR IGNORE INTO t VALUES ('k' || printf('%03d', ${(page * 7) % 60}) || 'x', 1), ('${page % 2 ? 'a' : 'z'}' || ${page}, 1);`);
        });
        const gone = new Set(Array.from({ length: 60 }, (_, page) => (page * 12) % 60));
        const stayed = Array.from({ length: 60 }, (_, i) => i).filter((i) => !gone.has(i));
        assertOnceEach(
          texts.filter((key) => !/x|^[az]/.test(String(key))),
          stayed.map((i) => `k${String(i).padStart(3, '0')}`),
        );
        // Nine rows share each `at`: pages end among them.
        const composite = await readWhile(file, url, { name: 'c' }, { maxRows }, (db, page) => {
          db.exec(`DELETE FROM c WHERE id = ${(page * 12) % 60};
                   INSERT OR IGNORE INTO c SELECT ${1000 + page}, max(at), 1 FROM c WHERE at < ${Math.floor((page * maxRows) / 9) + 1};`);
        });
        assertOnceEach(composite, stayed);
        const rowids = await readWhile(file, url, { name: 'r' }, { maxRows }, (db, page) => {
          db.exec(
            `DELETE FROM r WHERE v = ${(page * 12) % 60}; INSERT INTO r VALUES (${1000 + page});`,
          );
        });
        assertOnceEach(
          rowids.filter((v) => Number(v) < 1000),
          stayed,
        );
      });
    }
  }

  void it('hold where large rows are read apart, and are replaced meanwhile', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, (db) => {
      db.exec('PRAGMA journal_mode = WAL; CREATE TABLE t (k INTEGER PRIMARY KEY, v)');
      insert(
        db,
        't',
        Array.from({ length: 60 }, (_, i) => [BigInt(i), i % 4 === 1 ? bytes(20_000, i) : 1n]),
      );
    });
    await using server = await startHranaServer({ file });
    for (const url of [`file:${file}`, server.httpUrl, server.wsUrl]) {
      const keys = await readWhile(
        file,
        url,
        { name: 't' },
        { maxRows: 10, maxBytes: 30_000 },
        (db, page) => {
          db.exec(
            `UPDATE t SET v = CASE WHEN typeof(v) = 'blob' THEN 1 ELSE zeroblob(15000) END WHERE k % 5 = ${page % 5};`,
          );
        },
      );
      assert.deepEqual(
        keys.map(Number),
        Array.from({ length: 60 }, (_, i) => i),
      );
    }
  });

  void it('hold by the newest, ties and NULLs among them', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, (db) => {
      db.exec('PRAGMA journal_mode = WAL; CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, at)');
      insert(
        db,
        't',
        Array.from({ length: 50 }, (_, i) => [`k${i}`, i % 6 === 0 ? null : BigInt(i % 4)]),
      );
    });
    const table = { name: 't', limit: { count: 1000, newestBy: 'at' } };
    for (const maxRows of [1, 3, 8]) {
      const keys = await readWhile(file, `file:${file}`, table, { maxRows }, (db, page) => {
        db.exec(`INSERT OR IGNORE INTO t VALUES ('new ${page}', 99)`);
      });
      const old = keys.filter((key) => String(key).startsWith('k'));
      assertOnceEach(
        old,
        Array.from({ length: 50 }, (_, i) => `k${i}`),
      );
    }
  });

  void it('can be resumed from any page by another reader', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, (db) => {
      db.exec('CREATE TABLE t (a, b, PRIMARY KEY (a, b))');
      const some: Insertable[] = [
        null,
        1n,
        2 ** 60,
        2n ** 60n + 1n,
        Infinity,
        'x',
        'x\0',
        Buffer.of(1),
      ];
      insert(
        db,
        't',
        some.flatMap((a) => some.map((b) => [a, b])),
        'INSERT OR IGNORE',
      );
    });
    await using server = await startHranaServer({ file });
    for (const url of [`file:${file}`, server.httpUrl]) {
      await using source = await openSource({ url });
      const all: (readonly unknown[])[] = [];
      for await (const { rows } of source.pages('t', { maxRows: 1000 })) all.push(...rows);
      const resumed: (readonly unknown[])[] = [];
      let after: Parameters<typeof source.pages>[1] = { maxRows: 3 };
      for (let done = false; !done;) {
        await using other = await openSource({ url });
        for await (const page of other.pages('t', after)) {
          resumed.push(...page.rows);
          after = { maxRows: 3, after: page.position };
          done = page.done;
          break;
        }
      }
      // A driver may give a Buffer, which is a Uint8Array too.
      const plain = (rows: readonly (readonly unknown[])[]) =>
        rows.map((row) =>
          row.map((value) => (value instanceof Uint8Array ? Array.from(value) : value)),
        );
      assert.deepEqual(plain(resumed), plain(all));
      assert.equal(all.length, 64);
    }
  });
});
