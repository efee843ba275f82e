import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { openDatabase } from '../support/databases.js';

const CHILD = fileURLToPath(new URL('./memory-child.js', import.meta.url));
const BOUND_KIB = 256 * 1024;

void describe('memory', { skip: !existsSync('/proc/self/status') }, () => {
  for (const [what, rows, bytes] of [
    ['100,000 rows of 1 KB', 100_000, 1000],
    ['200 rows of 1 MB', 200, 1_000_000],
  ] as const) {
    void it(`stays within 256 MB of an idle process: ${what}`, async () => {
      const dir = await mkdtemp(join(tmpdir(), 'storage-sync-memory-'));
      try {
        const database = openDatabase(join(dir, 'source.db'));
        database.exec(
          `PRAGMA journal_mode = off; PRAGMA synchronous = off;
           CREATE TABLE rows (id TEXT PRIMARY KEY NOT NULL, body BLOB) WITHOUT ROWID;
           WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
           INSERT INTO rows SELECT printf('%08d', i), zeroblob(${bytes}) FROM n;`,
        );
        database.close();
        const source = `file:${join(dir, 'source.db')}`;
        const { stdout } = await promisify(execFile)(process.execPath, [
          CHILD,
          source,
          join(dir, 'cache'),
        ]);
        const seen = JSON.parse(stdout) as { rows: number; idleKib: number; peakKib: number };
        assert.equal(seen.rows, rows);
        assert.ok(seen.peakKib - seen.idleKib < BOUND_KIB, stdout);
      } finally {
        await rm(dir, { recursive: true });
      }
    });
  }
});
