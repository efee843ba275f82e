import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { openChangeLog } from '../../src/index.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

const DATABASES = new URL('../support/databases.js', import.meta.url).href;
/** Writes to the file as fast as an application may, from a process of its own. */
const WRITER = `
  const { openDatabase } = await import(${JSON.stringify(DATABASES)});
  const database = openDatabase(process.argv[1]);
  console.log('writing');
  for (let i = 0; ; i++) {
    database.exec('BEGIN IMMEDIATE; INSERT OR REPLACE INTO t VALUES (' + (i % 1000) + ', ' + i + '); COMMIT');
    if (i % 4 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  }`;

void describe('a source that others write all the time', () => {
  void it('has its log compacted all the same', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, 'PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
    // No further tries: what waits for a lock needs none.
    await using log = await openChangeLog({ url: `file:${file}`, retries: 0 });
    await log.install();
    const writer = spawn(process.execPath, ['--input-type=module', '-e', WRITER, file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(writer.stdout, 'data');
      for (let i = 0; i < 40; i++) await log.compact({ all: true });
    } finally {
      writer.kill('SIGKILL');
      await once(writer, 'exit');
    }
    const { tables } = await log.status();
    assert.equal(tables[0]?.state, 'installed');
  });
});
