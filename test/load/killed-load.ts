import { WorkerPool } from '../../src/pipeline/worker-pool.js';
import { StorageSync } from '../../src/storage-sync.js';
import type { ReaderTasks } from '../../src/pipeline/messages.js';

/** A process that is killed at some task of a load. */
const [file, cacheDir, task, nth] = process.argv.slice(2) as [string, string, string, string];

class KilledPool extends WorkerPool {
  #left = Number(nth);

  override async read<Name extends keyof ReaderTasks>(
    name: Name,
    request: ReaderTasks[Name]['request'],
    transfer?: readonly ArrayBuffer[],
  ): Promise<ReaderTasks[Name]['response']> {
    if (name === task && --this.#left === 0) process.kill(process.pid, 'SIGKILL');
    return await super.read(name, request, transfer);
  }
}

const pool = new KilledPool({ readerThreads: 2 });
const storage = await StorageSync.open({
  source: { url: `file:${file}` },
  cacheDir,
  pool,
  maxBytesInFlight: 1024 * 1024,
});
await storage.sync();
