import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openChangeLog, StorageSync, WorkerPool, type TableDefinition } from '../../src/index.js';
import { assertCacheEquals } from '../support/compare.js';
import { changeDatabase, openDatabase } from '../support/databases.js';
import fc from '../support/fast-check.js';
import { TempDirectory } from '../support/temp.js';

let pool: WorkerPool;
before(() => {
  pool = new WorkerPool({ readerThreads: 2 });
});
after(async () => {
  await pool.close();
});

/** How a cache is kept true. Each has a table `t` of `k` and `v`. */
const WAYS: Readonly<
  Record<string, { readonly definition: TableDefinition; readonly where: string }>
> = {
  full: {
    definition: { name: 't', mode: 'full', indexes: [{ name: 'by_v', columns: ['v'] }] },
    where: '1',
  },
  'change log': {
    definition: { name: 't', mode: 'change-log', indexes: [{ name: 'by_v', columns: ['v'] }] },
    where: '1',
  },
  cursor: { definition: { name: 't', cursor: { column: 'at', sweepEveryMs: 0 } }, where: '1' },
  limit: {
    definition: { name: 't', limit: { count: 4, newestBy: 'at' } },
    where: 'k IN (SELECT k FROM t ORDER BY at DESC, k DESC LIMIT 4)',
  },
  'soft deletes': {
    definition: { name: 't', softDelete: { column: 'gone', alive: [0] } },
    where: 'gone = 0',
  },
};

const key = fc.integer({ min: 0, max: 9 }).map((n) => `k${n}`);
const step = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('put' as const), key, gone: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant('get' as const),
      keys: fc.array(key, { minLength: 1, maxLength: 4 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('sync' as const), elsewhere: fc.boolean() }),
  },
  // Something is read through while a sync is under way.
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('both' as const), key, elsewhere: fc.boolean() }),
  },
);

void describe('a cache that is read through while the source moves', () => {
  for (const [way, { definition, where }] of Object.entries(WAYS)) {
    void it(
      `gives no row that never was, and is the source's after a sync: ${way}`,
      { timeout: 120_000 },
      async () => {
        let fetched = 0;
        await fc.assert(
          fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 40 }), async (steps) => {
            await using dir = await TempDirectory.make();
            const file = dir.join('source.db');
            const url = `file:${file}`;
            const cacheDir = dir.join('cache');
            changeDatabase(
              file,
              `PRAGMA journal_mode = WAL;
             CREATE TABLE t (k TEXT PRIMARY KEY NOT NULL, v INTEGER, at INTEGER NOT NULL, gone INTEGER NOT NULL);
             INSERT INTO t VALUES ('k0', 1, 1, 0), ('k1', 2, 2, 0)`,
            );
            if (definition.mode === 'change-log') {
              await using log = await openChangeLog({ url });
              await log.install();
            }
            const options = {
              source: { url },
              cacheDir,
              tables: [definition],
              pool,
              maxLossShare: 1,
            };
            await using storage = await StorageSync.open(options);
            await using other = await StorageSync.open(options);
            await storage.sync();
            const through = storage.readThrough('t', {
              negativeTtlMs: 3600_000,
              keptTtlMs: 3600_000,
            });
            const database = openDatabase(file);
            // What each key has ever had: an answer may be late, never invented. Reset by a completed sync.
            let known = new Map<string, Set<number | null>>();
            const now = (k: string): number | null => {
              const found = database
                .prepare(`SELECT v FROM t WHERE k = ? AND gone = 0`)
                .raw()
                .get(k);
              return (found as [number] | undefined)?.[0] ?? null;
            };
            const renew = () => {
              known = new Map(
                Array.from({ length: 10 }, (_, i) => [`k${i}`, new Set([now(`k${i}`)])]),
              );
            };
            renew();
            let clock = 10;
            const write = (sql: string, k: string) => {
              database.exec(sql);
              known.get(k)!.add(now(k));
            };
            const sync = async (elsewhere: boolean) => await (elsewhere ? other : storage).sync();
            const look = async (keys: readonly string[]) => {
              const rows = await through.getMany(keys);
              rows.forEach((row, i) => {
                const value = row === undefined || row['gone'] !== 0 ? null : Number(row['v']);
                const possible = known.get(keys[i]!)!;
                assert.ok(possible.has(value), `${keys[i]}: ${value} of ${[...possible].join()}`);
              });
            };
            try {
              // A row that the cache does not have, whatever the steps are.
              write(`INSERT INTO t VALUES ('k9', 9, 9, 0)`, 'k9');
              await look(['k9']);
              for (const each of steps) {
                if (each.do === 'put') {
                  clock++;
                  write(
                    `INSERT OR REPLACE INTO t VALUES ('${each.key}', ${clock}, ${clock}, ${each.gone ? 1 : 0})`,
                    each.key,
                  );
                } else if (each.do === 'delete')
                  write(`DELETE FROM t WHERE k = '${each.key}'`, each.key);
                else if (each.do === 'get') await look(each.keys);
                else if (each.do === 'wait') await sleep(150);
                else if (each.do === 'sync') {
                  await sync(each.elsewhere);
                  renew();
                } else {
                  await Promise.all([sync(each.elsewhere), look([each.key])]);
                }
              }
              await sleep(120);
              await storage.sync();
              await assertCacheEquals(file, cacheDir, { where: { t: where } });
              renew();
              await look([...known.keys()]);
              await sleep(120);
              await storage.sync();
              await assertCacheEquals(file, cacheDir, { where: { t: where } });
              const { left, complete } = await storage.verify({ level: 'deep' });
              assert.deepEqual([left, complete], [0, true]);
              fetched += through.stats.found;
            } finally {
              database.close();
            }
          }),
          { numRuns: 4 },
        );
        assert.ok(fetched > 0);
      },
    );
  }
});
