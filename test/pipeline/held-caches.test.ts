import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { WorkerPool } from '../../src/pipeline/worker-pool.js';
import { WORKER_URLS } from '../../src/pipeline/worker-urls.js';
import { TempDirectory } from '../support/temp.js';

void describe('a pool that is closed', () => {
  void it('ends no thread that has not closed its cache yet', async () => {
    await using dir = await TempDirectory.make();
    const file = dir.join('closed');
    const reader = new URL('./slow-closing.js', import.meta.url).href;
    const pool = new WorkerPool({ readerThreads: 1, urls: { ...WORKER_URLS, reader } });
    await pool.read('schema', { file } as never);
    pool.endSession('any');
    await pool.close();
    assert.ok(existsSync(file));
  });
});
