import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { StorageSyncError } from '../../../src/errors.js';
import { WorkerPool } from '../../../src/pipeline/worker-pool.js';
// Not all of src/index.js: there are hundreds of these processes, and they are to start soon.
import { StorageSync } from '../../../src/storage-sync.js';
import { setFault } from './fault.js';
import type { ChildOrder } from './run-child.js';
import { STARTED, type ChildUse } from './run-child.js';
import { watchPublishing } from './watched-files.js';
import { FAULTY_WORKER_URLS } from './worker-urls.js';

/** A process that runs one sync, or one verify that repairs, and is killed in it where its order says so. */
const order = JSON.parse(process.argv[2] ?? '') as ChildOrder;
const fault = setFault(order.fault);
watchPublishing();
const pool = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: order.readerThreads });
const storage = await StorageSync.open({ ...order.options, pool });
writeSync(1, STARTED);
const turns = monitorEventLoopDelay();
turns.enable();
let result: object;
const { full, allowLoss, abortAfterMs } = order;
const signal = abortAfterMs === undefined ? undefined : AbortSignal.timeout(abortAfterMs);
try {
  if (order.mode === 'verify') {
    const asked = order.verify ?? { level: 'deep', repair: true };
    result = { verified: await storage.verify({ ...asked, allowLoss, signal }) };
  } else if (order.mode === 'read-through') {
    const { table, keys } = order.read!;
    const rows = await storage.readThrough(table).getMany(keys);
    const cached = () => storage.cache.table(table).getMany(keys);
    while (cached().includes(undefined)) await sleep(5);
    result = { rowsRead: rows.filter((row) => row !== undefined).length };
  } else {
    const report = await storage[order.mode]({ full, allowLoss, signal });
    result = { report, rowsFetched: fault.rowsFetched };
  }
} catch (error) {
  const code = error instanceof StorageSyncError ? error.code : null;
  result = { failed: { code, message: error instanceof Error ? error.message : String(error) } };
}
turns.disable();
await storage.close();
await pool.close();
const use: ChildUse = {
  maxRssKiB: process.resourceUsage().maxRSS,
  longestTurnMs: Math.round(turns.max / 1e6),
};
writeSync(1, JSON.stringify({ ...result, ...use }));
