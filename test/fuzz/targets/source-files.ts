import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SourceError } from '../../../src/errors.js';
import { introspect } from '../../../src/source/introspection.js';
import { NativeConnection } from '../../../src/source/native-connection.js';
import { readPages } from '../../../src/source/page-reader.js';
import { planTables } from '../../../src/source/plan.js';
import { changeDatabase } from '../../support/databases.js';
import type { Random } from '../../support/random.js';
import type { Target } from '../target.js';

const PAGE_BYTES = 512;
const BOUNDS = { maxRows: 100, maxBytes: 100_000, maxRowBytes: 1_000_000 };

/** SQLite files with damaged pages, read as a sync reads them: out of the file's own b-trees. */
export async function sourceFiles(directory: string): Promise<Target> {
  const file = join(directory, 'source.db');
  changeDatabase(
    file,
    `PRAGMA page_size = ${PAGE_BYTES};
     CREATE TABLE t (id INTEGER PRIMARY KEY, a, b);
     CREATE TABLE k (x TEXT PRIMARY KEY NOT NULL, y);
     CREATE TABLE w (x TEXT, y INTEGER, z, PRIMARY KEY (x, y)) WITHOUT ROWID;
     WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60)
     INSERT INTO t SELECT i, printf('value %d', i), CASE WHEN i % 9 = 0 THEN zeroblob(i * 40) ELSE i * 1e10 END FROM n;
     INSERT INTO k SELECT 'k' || id, b FROM t;
     INSERT INTO w SELECT a, id, b FROM t`,
  );
  const whole = readFileSync(file);
  const pages = whole.length / PAGE_BYTES;
  return {
    async run(random) {
      // The schema's page is not in question: who can write that can write any SQL.
      const copy = Buffer.from(whole);
      for (let count = random.int(1, 4); count > 0; count--) spoil(random, copy, pages);
      writeFileSync(file, copy);
      try {
        const connection = new NativeConnection(`file:${file}`);
        try {
          const { plans } = planTables(await introspect(connection.batch), undefined);
          for (const plan of plans) {
            let rows = 0;
            for await (const page of readPages(connection, plan, null, BOUNDS)) {
              rows += page.rows.length;
              // Damaged trees may have cycles; they end where a table of any size would not.
              if (rows > 5000) break;
            }
          }
        } finally {
          await connection.close();
        }
      } catch (error) {
        assert.ok(error instanceof SourceError, error as Error);
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function spoil(random: Random, bytes: Buffer, pages: number): void {
  const start = random.int(1, pages - 1) * PAGE_BYTES;
  switch (random.int(0, 4)) {
    case 0:
      bytes.fill(0, start, start + PAGE_BYTES);
      return;
    case 1: {
      const from = random.int(1, pages - 1) * PAGE_BYTES;
      bytes.copy(bytes, start, from, from + PAGE_BYTES);
      return;
    }
    case 2:
      // The page's header, and where its cells are.
      bytes[start + random.int(0, 30)] = random.int(0, 255);
      return;
    default:
      for (let i = 0; i < 4; i++) {
        const at = start + random.int(0, PAGE_BYTES - 1);
        bytes[at] = random.chance(0.5) ? 0xff : bytes[at]! ^ (1 << random.int(0, 7));
      }
  }
}
