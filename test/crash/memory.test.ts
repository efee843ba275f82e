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
const CASES = [
  { what: '100,000 rows of 1 KB, in the order of their keys', rows: 100_000, bytes: 1000 },
  { what: '200 rows of 1 MB, in the order of their keys', rows: 200, bytes: 1_000_000 },
  { what: '60 rows of 5 MB', rows: 60, bytes: 5_000_000, inOrderOfKeys: false },
  // What was read and is not given back at once is soon some 30 MB a thread.
  {
    what: '300,000 rows of 1 KB, loaded',
    rows: 300_000,
    bytes: 1000,
    inOrderOfKeys: false,
    boundMib: 120,
  },
];

void describe('memory', { skip: !existsSync('/proc/self/status') }, () => {
  for (const { what, rows, bytes, inOrderOfKeys = true, boundMib = 256 } of CASES) {
    void it(`stays within ${boundMib} MB of an idle process: ${what}`, async () => {
      const dir = await mkdtemp(join(tmpdir(), 'storage-sync-memory-'));
      try {
        const database = openDatabase(join(dir, 'source.db'));
        database.exec(
          `PRAGMA journal_mode = off; PRAGMA synchronous = off;
           CREATE TABLE rows (id TEXT PRIMARY KEY NOT NULL, body BLOB)
             ${inOrderOfKeys ? 'WITHOUT ROWID' : ''};
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
        assert.ok(seen.peakKib - seen.idleKib < boundMib * 1024, stdout);
      } finally {
        await rm(dir, { recursive: true });
      }
    });
  }
});
