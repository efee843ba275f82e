import { writeSync } from 'node:fs';
import { StorageSyncError } from '../../../src/errors.js';
import { WorkerPool } from '../../../src/pipeline/worker-pool.js';
// Not all of src/index.js: there are hundreds of these processes, and they are to start soon.
import { StorageSync } from '../../../src/storage-sync.js';
import { setFault } from './fault.js';
import type { ChildOrder, ChildResult } from './run-child.js';
import { STARTED } from './run-child.js';
import { watchPublishing } from './watched-files.js';
import { FAULTY_WORKER_URLS } from './worker-urls.js';

/** A process that runs one sync, or one verify that repairs, and is killed in it where its order says so. */
const order = JSON.parse(process.argv[2] ?? '') as ChildOrder;
const fault = setFault(order.fault);
watchPublishing();
const pool = new WorkerPool({ urls: FAULTY_WORKER_URLS, readerThreads: order.readerThreads });
const storage = await StorageSync.open({ ...order.options, pool });
writeSync(1, STARTED);
let result: ChildResult;
const { full, allowLoss, abortAfterMs } = order;
const signal = abortAfterMs === undefined ? undefined : AbortSignal.timeout(abortAfterMs);
try {
  if (order.mode === 'verify') {
    await storage.verify({ level: 'deep', repair: true });
    result = { verified: true };
  } else {
    const report = await storage[order.mode]({ full, allowLoss, signal });
    result = { report, rowsFetched: fault.rowsFetched };
  }
} catch (error) {
  const code = error instanceof StorageSyncError ? error.code : null;
  result = { failed: { code, message: error instanceof Error ? error.message : String(error) } };
}
await storage.close();
await pool.close();
writeSync(1, JSON.stringify(result));
