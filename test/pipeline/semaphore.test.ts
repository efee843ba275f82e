import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Semaphore } from '../../src/pipeline/semaphore.js';

describe('semaphore', () => {
  it('lets in no more than its permits, in order of asking', async () => {
    const semaphore = new Semaphore(3);
    const entered: string[] = [];
    const enter = async (name: string, permits: number) => {
      await semaphore.acquire(permits);
      entered.push(name);
    };
    const all = [enter('a', 2), enter('b', 2), enter('c', 1)];
    await new Promise(setImmediate);
    // `c` would fit, but `b` came first.
    assert.deepEqual(entered, ['a']);
    semaphore.release(2);
    await Promise.all(all);
    assert.deepEqual(entered, ['a', 'b', 'c']);
  });

  it('pays an overdraft back before it lets anybody in', async () => {
    const semaphore = new Semaphore(2);
    semaphore.overdraw(5);
    let entered = false;
    const waiting = semaphore.acquire(1).then(() => {
      entered = true;
    });
    semaphore.release(3);
    await new Promise(setImmediate);
    assert.equal(entered, false);
    semaphore.release(1);
    await waiting;
    assert.equal(entered, true);
  });
});
