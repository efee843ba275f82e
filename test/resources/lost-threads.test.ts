import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Loss } from './faulty-threads.js';
import { loses } from './lose-thread.js';

const LOSSES: readonly Loss[] = [
  ...['schema', 'page', 'write', 'complete', 'close'].map(
    (task) => ({ task, way: 'exit' }) as const,
  ),
  { task: 'page', way: 'throw' },
  { task: 'write', way: 'throw' },
  { task: 'write', way: 'reject' },
  { task: 'page', way: 'throw between tasks' },
  { task: 'write', way: 'throw between tasks' },
];

void describe('a thread that is lost', () => {
  for (const loss of LOSSES) {
    void it(`fails the sync, not the process, and the next sync completes: ${loss.way} in ${loss.task}`, async () => {
      await loses(loss);
    });
  }

  for (const task of ['page', 'write']) {
    void it(`for want of memory is told: in ${task}`, async () => {
      // A process of its own: its threads may have little memory.
      const script = fileURLToPath(new URL('./lost-threads-child.js', import.meta.url));
      const args = ['--max-old-space-size=96', script, task];
      const { stdout } = await promisify(execFile)(process.execPath, args);
      assert.equal(stdout, 'survived\n');
    });
  }
});
