import { parentPort, workerData } from 'node:worker_threads';
import { openDatabase } from '../support/databases.js';
import type { WriterOrder } from './busy-writer.js';
import { runTransaction } from './run-transaction.js';

const { file, transactions, pauseMs, ...shared } = workerData as WriterOrder;
const committed = new Int32Array(shared.committed);
const stop = new Int32Array(shared.stop);

const database = openDatabase(file);
try {
  for (let i = 0; Atomics.load(stop, 0) === 0; i++) {
    runTransaction(database, transactions[i % transactions.length]!);
    if (Atomics.add(committed, 0, 1) === 0) parentPort!.postMessage('started');
    Atomics.wait(stop, 0, 0, pauseMs);
  }
} finally {
  database.close();
}
