import { parentPort, workerData } from 'node:worker_threads';
import { BulkFile, PageCounter, type BulkTarget } from '../../src/cache/bulk/bulk-file.js';
import { numbered, packRuns } from './bulk-load.js';

/** Loads a range of {@link numbered} records as one of several threads that write the same file. */
export interface ThreadOrder {
  readonly dir: string;
  readonly target: BulkTarget;
  readonly pages: SharedArrayBuffer;
  readonly count: number;
  readonly from: number;
  readonly to: number;
}

const { dir, target, pages, count, from, to } = workerData as ThreadOrder;
const counter = new PageCounter(pages);
const file = new BulkFile(dir, target);
const runs = packRuns(numbered(count, 36, 350).slice(from, to), target.pageSize, 30_000);
parentPort?.postMessage(runs.map((run) => file.write(run, counter.take(run.pageCount))));
file.close();
