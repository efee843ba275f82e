import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync } from 'node:fs';
import { it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { StorageSync } from '../../src/index.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';
import type { RebuildReaderResult } from './rebuild-reader.js';

const READERS = 4;
const REBUILDS = 4;
const ROWS = 5000;

async function startReader(cacheDir: string): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('./rebuild-reader.js', import.meta.url)), [cacheDir]);
  await once(child, 'message');
  return child;
}

async function endReader(child: ChildProcess): Promise<RebuildReaderResult> {
  const told = once(child, 'message') as Promise<[RebuildReaderResult]>;
  child.send('end');
  const [result] = await told;
  return result;
}

void it('four processes that read all the while see whole views, and follow each rebuild', async () => {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(
    file,
    `CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, edition INTEGER, v);
     CREATE TABLE marker (id INTEGER PRIMARY KEY, edition INTEGER);
     INSERT INTO marker VALUES (1, 0);
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
     INSERT INTO t SELECT 'k' || i, 0, hex(randomblob(20)) FROM n`,
  );
  const cacheDir = dir.join('cache');
  await using storage = await StorageSync.open({ source: { url: `file:${file}` }, cacheDir });
  await storage.sync();
  const readers = await Promise.all(
    Array.from({ length: READERS }, async () => await startReader(cacheDir)),
  );

  for (let edition = 1; edition <= REBUILDS; edition++) {
    changeDatabase(
      file,
      `UPDATE t SET edition = ${edition}; UPDATE marker SET edition = ${edition}`,
    );
    await storage.rebuild();
    // Longer, and shorter, than a reader takes to notice.
    await sleep(edition % 2 === 0 ? 50 : 1500);
  }
  // One that is killed in the middle of a view holds nothing up.
  const killed = readers.pop()!;
  killed.kill('SIGKILL');
  await once(killed, 'exit');
  changeDatabase(file, 'UPDATE t SET edition = 99; UPDATE marker SET edition = 99');
  await storage.rebuild();
  await sleep(3000);

  for (const result of await Promise.all(readers.map(endReader))) {
    assert.equal(result.complaint, null);
    const { editions } = result;
    assert.deepEqual([editions[0], editions.at(-1)], [0, 99]);
    assert.deepEqual(
      editions,
      editions.toSorted((a, b) => a - b),
      'no view goes back',
    );
    assert.ok(result.generations > 2 && result.views > result.generations);
  }
  const kept = readdirSync(dir.join('cache', 'generations'));
  assert.equal(kept.length, 1, `generations that are left: ${kept.join(', ')}`);
  assert.ok(statSync(dir.join('cache', 'generations', kept[0]!, 'data.mdb')).size > 0);
});
