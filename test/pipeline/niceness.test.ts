import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { getPriority } from 'node:os';
import { describe, it } from 'node:test';
import { WorkerPool } from '../../src/index.js';

const onLinux = process.platform === 'linux' ? false : 'only Linux has priorities of threads';

void describe('the threads of a pool', () => {
  void it('give way to the rest of the process', { skip: onLinux }, async () => {
    const usual = getPriority();
    assert.deepEqual(await nicenesses({ niceness: 7 }), [usual + 7, usual + 7, usual + 7]);
    assert.deepEqual(await nicenesses({ niceness: 0 }), []);
    assert.equal(getPriority(), usual);
  });

  void it('are as nice as can be, and no more', { skip: onLinux }, async () => {
    assert.deepEqual(new Set(await nicenesses({ niceness: 19 })), new Set([19]));
  });
});

/** The priorities of threads that are not the process's own, once all threads of a pool have begun. */
async function nicenesses(options: { readonly niceness: number }): Promise<number[]> {
  await using pool = new WorkerPool({ ...options, readerThreads: 2 });
  const generation = { dir: '/nowhere', unpublished: false, create: false };
  await pool.write('close', { generation });
  // Each reader has begun when it has told that it cannot answer.
  const asked = Array.from({ length: 32 }, () => pool.read('nothing' as never, {} as never));
  await Promise.allSettled(asked);
  return readdirSync('/proc/self/task').flatMap((thread) => {
    // The fields of proc(5) behind the name, which may hold spaces: priority is the 18th of all, niceness the 19th.
    const fields = readFileSync(`/proc/self/task/${thread}/stat`, 'utf8')
      .split(') ')[1]!
      .split(' ');
    const niceness = Number(fields[16]);
    return niceness === getPriority() ? [] : [niceness];
  });
}
