import assert from 'node:assert/strict';
import {
  openChangeLog,
  StorageSync,
  type StorageSyncOptions,
  type SyncOptions,
  type SyncReport,
  type WorkerPool,
} from '../../src/index.js';
import { Environment } from '../../src/cache/environment.js';
import { generationPath } from '../../src/cache/layout.js';
import { readManifest } from '../../src/cache/manifest.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

/* A source whose table `t` is to change, and what is asked of a cache of it. */

export const ROWS = 300;
export const T = 'CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, a, b, c)';
export const FILL = `WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS - 1})
  INSERT INTO t (k, a, b, c) SELECT i, 'a-' || i, 'b-' || i, 'c-' || i FROM n`;
/** Makes the table anew, as a migration would. */
export const remade = (schema: string, list = 'k, a, b, c') =>
  `CREATE TABLE made (${schema}); INSERT INTO made SELECT ${list} FROM t; DROP TABLE t; ALTER TABLE made RENAME TO t`;

export async function run(
  pool: WorkerPool,
  options: StorageSyncOptions,
  asked: SyncOptions & { readonly rebuild?: boolean } = {},
): Promise<SyncReport> {
  await using storage = await StorageSync.open({ ...options, pool });
  return await (asked.rebuild ? storage.rebuild(asked) : storage.sync(asked));
}

export async function withSource(
  build: string,
  use: (file: string, options: StorageSyncOptions, dir: TempDirectory) => Promise<void>,
): Promise<void> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  changeDatabase(file, `PRAGMA journal_mode = WAL; ${build}`);
  await use(file, { source: { url: `file:${file}` }, cacheDir: dir.join('cache') }, dir);
}

export async function capture(file: string): Promise<void> {
  await using log = await openChangeLog({ url: `file:${file}` });
  await log.install();
}

/** Asserts that nothing is left of tables that are neither served nor being built, and that nothing is being built. */
export async function assertNothingLeft(options: StorageSyncOptions): Promise<void> {
  await withEnvironment(options, (environment) => {
    const { tables, pending, nextId } = environment.catalog();
    assert.deepEqual(pending, []);
    for (let id = 1; id < nextId; id++) {
      if (tables.some((table) => table.id === id)) continue;
      assert.equal(environment.hasTable(id), false);
      for (const database of [
        environment.rows(id),
        environment.indexes(id),
        environment.scratch(id),
        environment.quarantine(id),
      ]) {
        assert.deepEqual([...database.getKeys({ limit: 1 })], []);
      }
    }
  });
}

export async function withEnvironment<Found>(
  { cacheDir }: StorageSyncOptions,
  look: (environment: Environment) => Found,
): Promise<Found> {
  const environment = new Environment(generationPath(cacheDir, readManifest(cacheDir)!.live!));
  try {
    return look(environment);
  } finally {
    await environment.close();
  }
}
