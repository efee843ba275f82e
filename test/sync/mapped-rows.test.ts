import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { openChangeLog, StorageSync } from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

/** lmdb-js lends values up to 16 MB in a buffer of its own, and maps larger ones. */
const MAPPED_BYTES = 17 * 2 ** 20;

void describe('rows that LMDB maps', () => {
  void it('are compared, followed, indexed and verified as others are', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(
      file,
      `CREATE TABLE t (id INTEGER PRIMARY KEY, label TEXT, v BLOB);
       INSERT INTO t VALUES (1, 'a', 'small'), (2, 'b', zeroblob(${MAPPED_BYTES})), (3, 'c', randomblob(${MAPPED_BYTES}))`,
    );
    const source = { url: `file:${file}` };
    await using storage = await StorageSync.open({
      source,
      cacheDir: dir.join('cache'),
      tables: [{ name: 't', indexes: [{ name: 'by_label', columns: ['label'], unique: true }] }],
      validateChecksums: true,
    });
    await storage.sync();
    const again = await storage.sync();
    assert.equal(again.tables['t']!.rowsUnchanged, 3, 'compared');

    await using log = await openChangeLog(source);
    await log.install();
    await storage.sync();
    changeDatabase(
      file,
      `UPDATE t SET label = label || id; UPDATE t SET v = zeroblob(1) WHERE id = 2`,
    );
    const followed = await storage.sync();
    assert.equal(followed.mode, 'incremental');
    assert.equal(followed.tables['t']!.rowsWritten, 3);
    await assertCacheEquals(file, dir.join('cache'));
    const [third] = storage.cache.table('t').byIndex('by_label', 'c3');
    assert.equal(third?.['id'], 3);

    const verified = await storage.verify({ level: 'deep' });
    assert.equal(verified.left, 0);
    assert.equal(verified.tables['t']!.rowsCompared, 3);
  });
});
