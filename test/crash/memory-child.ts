import { readFileSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { StorageSync } from '../../src/index.js';

/**
 * Syncs a source into a cache and prints how much memory of its own the process took, over what it had when idle:
 * `RssAnon` of Linux, which leaves out the pages of LMDB's file that the system has mapped.
 *
 * Usage: `node memory-child.js SOURCE_URL CACHE_DIR [sync|rebuild]`
 */
const [url = '', cacheDir = '', mode = 'sync'] = process.argv.slice(2);

/** A thread of its own looks, so that a busy main thread does not hide the peak. */
const peak = new Int32Array(new SharedArrayBuffer(4));
const watcher = new Worker(
  `const { workerData } = require('node:worker_threads');
   const { readFileSync } = require('node:fs');
   setInterval(() => {
     const kib = Number(/RssAnon:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
     if (kib > Atomics.load(workerData, 0)) Atomics.store(workerData, 0, kib);
   }, 5);`,
  { eval: true, workerData: peak },
);

function anonKib(): number {
  return Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
}

await new Promise((resolve) => setTimeout(resolve, 200));
const idleKib = anonKib();
const startedAt = performance.now();
// As many threads on every machine: each has memory of its own.
const storage = await StorageSync.open({ source: { url }, cacheDir, readerThreads: 2 });
const report = await (mode === 'rebuild' ? storage.rebuild() : storage.sync());
const elapsedMs = performance.now() - startedAt;
await storage.close();
await watcher.terminate();
const rows = Object.values(report.tables).reduce((sum, table) => sum + table.rowsRead, 0);
console.log(JSON.stringify({ rows, idleKib, peakKib: peak[0], elapsedMs: Math.round(elapsedMs) }));
