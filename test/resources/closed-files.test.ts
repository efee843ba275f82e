import assert from 'node:assert/strict';
import { readdirSync, readlinkSync } from 'node:fs';
import { describe, it } from 'node:test';
import { openChangeLog, StorageSync } from '../../src/index.js';
import { openDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

const ROUNDS = 150;
/** Of one thread: connections that were closed since it last collected, and those that it could not collect then. */
const MAX_OPEN = 28;
const onLinux = process.platform === 'linux' ? false : 'looks at the process by /proc';

/** Descriptors of this process for files whose paths begin so. */
function openFiles(path: string): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(path);
    } catch {
      return false;
    }
  }).length;
}

void describe('the files of a source', () => {
  void it('are let go of by threads that have little to do', { skip: onLinux }, async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    const database = openDatabase(file);
    database.exec(`PRAGMA journal_mode = WAL; CREATE TABLE t (k INTEGER PRIMARY KEY, v);
      INSERT INTO t VALUES (1, 0)`);
    await using log = await openChangeLog({ url: `file:${file}` });
    await log.install();
    const source = { url: `file:${file}` };
    await using storage = await StorageSync.open({
      source,
      cacheDir: dir.join('cache'),
      readerThreads: 1,
    });
    let most = 0;
    for (let round = 0; round < ROUNDS; round++) {
      database.exec('UPDATE t SET v = v + 1');
      await storage.sync();
      most = Math.max(most, openFiles(file));
    }
    assert.ok(most <= MAX_OPEN, `${most} descriptors`);
    database.close();
  });
});
