import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { StorageSync } from '../../src/index.js';
import type { SourceTable } from '../data/data-file.js';
import type { Target } from './target.js';

const READERS = 4;
const LEAST_ALONE_MS = 500;
/** About as long as a rebuild of as many rows takes. */
const ALONE_US_PER_ROW = 5;

/** What a reading process is told, as its first argument. */
export interface ReadOrder {
  readonly cacheDir: string;
  readonly table: SourceTable;
}

/** What a reading process tells at its end. */
export interface ReadResult {
  readonly reads: number;
  /** The longest time from one read to the next. */
  readonly pauseMs: number;
  readonly error: string | null;
}

/** A rebuild while four processes read the cache as fast as they can. */
export const servedRebuild: Target = read(async (sync) => {
  await sync.rebuild();
});

/** The same processes, and no rebuild: what the machine's scheduler makes of them. */
export const readersAlone: Target = read(async (_, rows) => {
  await sleep(Math.max(LEAST_ALONE_MS, (ALONE_US_PER_ROW * rows) / 1000));
});

function read(meanwhile: (sync: StorageSync, rows: number) => Promise<void>): Target {
  return {
    prepare: async ({ url, tables, directory }) => {
      const cacheDir = join(directory, 'cache');
      const names = tables.map(({ name }) => name);
      const sync = await StorageSync.open({ source: { url }, cacheDir, tables: names });
      await sync.sync();
      const readers = await Promise.all(
        Array.from({ length: READERS }, async () => await startReader(cacheDir, tables[0]!)),
      );
      let pauseMs = 0;
      const count = () =>
        tables.reduce((rows, { name }) => rows + sync.cache.table(name).count(), 0);
      return {
        run: async () => {
          await meanwhile(sync, count());
          const results = await Promise.all(readers.map(endReader));
          for (const result of results) {
            if (result.error !== null) throw new Error(`A reader failed: ${result.error}`);
            pauseMs = Math.max(pauseMs, result.pauseMs);
          }
          return count();
        },
        countKept: count,
        readPauseMs: () => pauseMs,
        close: async () => await sync.close(),
      };
    },
  };
}

async function startReader(cacheDir: string, table: SourceTable): Promise<ChildProcess> {
  const order: ReadOrder = { cacheDir, table };
  const script = fileURLToPath(new URL('./reading-child.js', import.meta.url));
  const child = fork(script, [JSON.stringify(order)]);
  await once(child, 'message');
  return child;
}

async function endReader(child: ChildProcess): Promise<ReadResult> {
  const told = once(child, 'message') as Promise<[ReadResult]>;
  child.send('end');
  const [result] = await told;
  return result;
}
