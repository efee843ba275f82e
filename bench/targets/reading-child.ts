import { setImmediate } from 'node:timers/promises';
import { openCache, type SqlValue } from '../../src/index.js';
import type { ReadOrder, ReadResult } from './served-rebuild.js';

const KEYS = 20_000;
/** Between two looks at what the event loop has. */
const READS_AT_ONCE = 1000;
/** After the rebuild: a published generation is moved to within a second. */
const LAST_READS_MS = 1500;

/** Reads random rows by their keys, as fast as it can, until it is told to end. */
const { cacheDir, table } = JSON.parse(process.argv[2]!) as ReadOrder;
const cache = openCache(cacheDir);
const rows = cache.table(table.name);
const keys: SqlValue[] = [];
for (const row of rows.range({ limit: KEYS })) keys.push(row[table.key]!);

let endsAt = Infinity;
process.on('message', () => (endsAt = performance.now() + LAST_READS_MS));
process.send!('reading');

let reads = 0;
let pauseMs = 0;
let error: string | null = null;
let last = performance.now();
while (last < endsAt && error === null) {
  for (let i = 0; i < READS_AT_ONCE && error === null; i++) {
    const key = keys[Math.floor(Math.random() * keys.length)]!;
    try {
      if (rows.get(key)?.[table.key] !== key) error = `No row has the key ${String(key)}.`;
    } catch (thrown) {
      error = String(thrown);
    }
    const now = performance.now();
    pauseMs = Math.max(pauseMs, now - last);
    last = now;
  }
  reads += READS_AT_ONCE;
  await setImmediate();
}
await cache.close();
const result: ReadResult = { reads, pauseMs, error };
process.send!(result);
process.disconnect();
