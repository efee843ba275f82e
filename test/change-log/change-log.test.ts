import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  CaptureError,
  ConfigError,
  openChangeLog,
  SourceError,
  type ChangeLog,
  type ChangeLogOptions,
  type ErrorCode,
} from '../../src/index.js';
import { refuseUnserializedWriters } from '../../src/source/change-log/writers.js';
import { changeDatabase } from '../support/databases.js';
import { startHranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';
import { LoggedDatabase } from './changed-keys.js';

const SCHEMA = `CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT UNIQUE);
  CREATE TABLE pairs (a TEXT NOT NULL, b INT NOT NULL, PRIMARY KEY (a, b)) WITHOUT ROWID;
  CREATE TABLE no_key (a);
  CREATE TABLE by_rowid (id INTEGER PRIMARY KEY, g AS (id % 2) UNIQUE);
  CREATE VIEW seen AS SELECT * FROM notes;
  CREATE VIRTUAL TABLE words USING fts5 (word);`;

async function rejects(call: Promise<unknown>, code: ErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(call, (error: unknown) => {
    assert.ok(error instanceof SourceError || error instanceof CaptureError, String(error));
    assert.equal(error.code, code);
    assert.match(error.message, message);
    return true;
  });
}

function register(file: string, reader: string, id: number, version: number, seenAt: number): void {
  changeDatabase(
    file,
    `INSERT OR REPLACE INTO storage_sync_reader VALUES ('${reader}', ${id}, ${version}, ${seenAt})`,
  );
}

function count(from: number, to: number): string {
  return `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${to}) `;
}

/** A database reached by each kind of URL. */
function overEveryTransport(use: (file: string, log: ChangeLog, way: string) => Promise<void>) {
  return async () => {
    for (const way of ['file', 'http', 'ws'] as const) {
      await using dir = await TempDirectory.make();
      const file = dir.join('source.db');
      changeDatabase(file, SCHEMA);
      await using server = await startHranaServer({ file });
      const url = { file: `file:${file}`, http: server.httpUrl, ws: server.wsUrl }[way];
      await using log = await openChangeLog({ url });
      await use(file, log, way);
    }
  };
}

void describe('the change log', () => {
  void it(
    'is installed, filled, compacted and ended',
    overEveryTransport(async (file, log, way) => {
      const report = await log.install();
      assert.deepEqual(
        report.tables.map(({ table, action }) => [table, action]),
        [
          ['notes', 'installed'],
          ['pairs', 'installed'],
        ],
        way,
      );
      assert.deepEqual(
        report.leftOut.map(({ table }) => table),
        ['by_rowid', 'no_key'],
      );
      const first = await log.status();
      assert.deepEqual(
        first.tables.map(({ table, state, rows, newestVersion, compacted, key }) => [
          table,
          state,
          rows,
          newestVersion,
          compacted,
          key,
        ]),
        [
          ['notes', 'installed', 0, 0, 0, ['id']],
          ['pairs', 'installed', 0, 0, 0, ['a', 'b']],
        ],
      );
      assert.deepEqual(
        first.notCaptured.map(({ table }) => table),
        ['by_rowid', 'no_key'],
      );
      const again = await log.install();
      assert.ok(again.tables.every(({ action }) => action === 'unchanged'));
      assert.equal((await log.status()).tables[0]!.logId, first.tables[0]!.logId);

      changeDatabase(file, `${count(1, 100)} INSERT INTO notes SELECT i, i FROM n`);
      const [notes] = (await log.compact()).tables;
      assert.equal(notes!.rowsRemoved, 0);
      assert.match(notes!.skipped!, /no reader/);

      register(file, 'one', 1, 60, Date.now());
      register(file, 'two', 1, 40, Date.now() - 10_000);
      const compacted = await log.compact({ tables: ['notes'], chunkRows: 7 });
      assert.deepEqual(compacted.tables, [
        { table: 'notes', rowsRemoved: 40, compacted: 40, skipped: null },
      ]);
      assert.deepEqual((await log.compact({ tables: ['notes'] })).tables[0]!.rowsRemoved, 0);
      assert.equal((await log.compact({ all: true, tables: ['notes'] })).tables[0]!.compacted, 40);
      const forgot = await log.compact({ forgetReadersAfterMs: 5000 });
      assert.equal(forgot.readersForgotten, 1);
      assert.equal(forgot.tables[0]!.compacted, 60);
      const { readers, rows, newestVersion } = (await log.status()).tables[0]!;
      assert.deepEqual([rows, newestVersion], [40, 100]);
      assert.deepEqual(
        readers.map(({ reader, version }) => [reader, version]),
        [['one', 60]],
      );
      assert.ok(readers[0]!.ageMs >= 0 && readers[0]!.ageMs < 60_000);

      assert.deepEqual(await log.uninstall(['PAIRS']), { tables: ['pairs'] });
      assert.deepEqual(await log.uninstall(), { tables: ['notes'] });
      assert.deepEqual(await log.uninstall(), { tables: [] });
      changeDatabase(file, (db) => {
        const left = db.prepare("SELECT name FROM sqlite_schema WHERE name LIKE 'storage_sync%'");
        assert.deepEqual(left.all(), []);
      });
    }),
  );

  void it('never removes the newest change, so that versions go on', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    using logged = await LoggedDatabase.make(file, SCHEMA);
    await using log = await openChangeLog({ url: `file:${file}` });
    logged.exec(`${count(1, 50)} INSERT INTO notes SELECT i, i FROM n`);
    const before = await log.compact({ before: 11, tables: ['notes'] });
    assert.deepEqual(before.tables, [
      { table: 'notes', rowsRemoved: 10, compacted: 10, skipped: null },
    ]);
    const all = await log.compact({ all: true, chunkRows: 10, tables: ['notes'] });
    assert.deepEqual(all.tables, [
      { table: 'notes', rowsRemoved: 39, compacted: 49, skipped: null },
    ]);
    register(file, 'ahead', 1, 50, Date.now());
    assert.equal((await log.compact({ tables: ['notes'] })).tables[0]!.compacted, 49);
    logged.exec('UPDATE notes SET body = NULL WHERE id = 50');
    assert.equal(logged.version(1), 51);
    logged.exec('DELETE FROM notes');
    assert.equal(logged.version(1), 101);
    assert.deepEqual((await log.compact({ all: true, tables: ['pairs'] })).tables, [
      { table: 'pairs', rowsRemoved: 0, compacted: 0, skipped: null },
    ]);
  });

  void it('is installed once, however many do it at once', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, SCHEMA);
    await using server = await startHranaServer({ file });
    const logs = await Promise.all(
      [server.httpUrl, server.wsUrl, server.httpUrl].map((url) => openChangeLog({ url })),
    );
    const reports = await Promise.all(logs.map((log) => log.install()));
    const actions = reports.flatMap(({ tables }) => tables.map(({ action }) => action));
    assert.equal(actions.filter((action) => action === 'installed').length, 2);
    assert.equal(actions.filter((action) => action === 'unchanged').length, 4);
    assert.ok((await logs[0]!.status()).tables.every(({ state }) => state === 'installed'));
    await Promise.all(logs.map((log) => log.close()));
  });

  void it('is refused where it could not be kept true', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `${SCHEMA}
      CREATE TABLE by_default (id INTEGER PRIMARY KEY, a TEXT NOT NULL DEFAULT 'x', g AS (lower(a)) UNIQUE);
      CREATE TABLE by_both (id INTEGER PRIMARY KEY, a TEXT NOT NULL DEFAULT 'x', g AS (lower(a)));
      CREATE UNIQUE INDEX both ON by_both (g || '');
      CREATE TABLE New (id INTEGER PRIMARY KEY, a UNIQUE)`,
    );
    await using log = await openChangeLog({ url: `file:${file}` });
    await rejects(log.install(['no_key']), 'TABLE_NOT_SUPPORTED', /no primary key/);
    await rejects(log.install(['by_rowid']), 'TABLE_NOT_SUPPORTED', /computed from the rowid/);
    await rejects(log.install(['by_default']), 'TABLE_NOT_SUPPORTED', /NOT NULL and a DEFAULT/);
    await rejects(log.install(['by_both']), 'TABLE_NOT_SUPPORTED', /NOT NULL and a DEFAULT/);
    await rejects(log.install(['New']), 'TABLE_NOT_SUPPORTED', /stands for the changed row/);
    await rejects(log.install(['seen']), 'TABLE_NOT_SUPPORTED', /view/);
    await rejects(log.install(['words']), 'TABLE_NOT_SUPPORTED', /virtual/);
    await rejects(log.install(['sqlite_schema']), 'TABLE_NOT_SUPPORTED', /system/);
    await rejects(log.install(['notes', 'nothing']), 'TABLE_NOT_FOUND', /nothing/);
    await rejects(log.uninstall(['notes']), 'CAPTURE_NOT_INSTALLED', /not logged/);
    await rejects(log.compact({ tables: ['notes'] }), 'CAPTURE_NOT_INSTALLED', /not logged/);
    assert.deepEqual((await log.status()).tables, [], 'nothing was installed');
    await log.install(['notes']);
    changeDatabase(file, 'UPDATE storage_sync_capture SET format = 2');
    assert.match((await log.status()).tables[0]!.problem!, /newer version/);
    await rejects(log.install(), 'CAPTURE_FORMAT_UNSUPPORTED', /newer version/);
    await rejects(log.compact(), 'CAPTURE_FORMAT_UNSUPPORTED', /newer version/);
    await rejects(log.uninstall(), 'CAPTURE_FORMAT_UNSUPPORTED', /newer version/);
    await rejects(
      openChangeLog({ url: `file:${dir.join('none.db')}` }),
      'SOURCE_NOT_FOUND',
      /does not exist/,
    );
  });

  void it('names every option that is wrong, and shows no token', async () => {
    await using dir = await TempDirectory.make();
    const url = `file:${dir.join('source.db')}`;
    changeDatabase(dir.join('source.db'), SCHEMA);
    const wrong: readonly [unknown, RegExp][] = [
      [undefined, /options is missing/],
      [{}, /url is missing/],
      [{ url: 'mysql://u:secret@host' }, /url must start with one of file:/],
      [{ url, authToken: ['secret'], retries: -1 }, /authToken must be text; retries .*\(got -1\)/],
      [{ url, retry: 1 }, /retry is not a known option/],
    ];
    for (const [options, message] of wrong) {
      await assert.rejects(openChangeLog(options as ChangeLogOptions), (error) => {
        assert.ok(error instanceof ConfigError, String(error));
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /secret/);
        return true;
      });
    }
    await using log = await openChangeLog({ url });
    const name = 'ConfigError';
    await assert.rejects(log.compact({ before: 0.5 }), { name, message: /before must be a whole/ });
    await assert.rejects(log.compact({ chunkRows: 0, forgetReadersAfterMs: -1 }), {
      name,
      message: /forgetReadersAfterMs must be at least 0 .*chunkRows must be at least 1/,
    });
  });

  void it('is refused where transactions write at the same time', async () => {
    for (const mode of ['mvcc', 'experimental_mvcc']) {
      await rejects(
        refuseUnserializedWriters(() => Promise.resolve([[mode]])),
        'CAPTURE_UNSAFE',
        /at the same time/,
      );
    }
    await refuseUnserializedWriters(() => Promise.resolve([['wal']]));
    const refused = () => Promise.reject(new SourceError('SOURCE_SQL', 'not authorized'));
    await refuseUnserializedWriters(refused);
  });
});
