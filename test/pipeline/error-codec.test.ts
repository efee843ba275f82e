import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  CacheError,
  ConfigError,
  LossError,
  RowRejectedError,
  SourceError,
  StorageSyncError,
  SyncAbortedError,
  WorkerError,
} from '../../src/errors.js';
import { decodeError, encodeError } from '../../src/pipeline/error-codec.js';

function acrossThreads(error: unknown): Error {
  return decodeError(structuredClone(encodeError(error)));
}

describe('error codec', () => {
  it('keeps class, name, code, message, context, hint and cause of every error', () => {
    const cause = Object.assign(new TypeError('fetch failed'), { code: 'ECONNRESET' });
    const options = { cause, context: { table: 't', rows: 3 }, hint: 'Try again.' };
    const errors = [
      new ConfigError('bad', options),
      new SourceError('SOURCE_TIMEOUT', 'slow', { ...options, retryAfterMs: 1500 }),
      new CacheError('CACHE_FULL', 'full', options),
      new RowRejectedError('row', options),
      new LossError('loss', options),
      new WorkerError('worker', options),
      new StorageSyncError('WORKER_FAILED', 'base', options),
    ];
    for (const error of errors) {
      const copy = acrossThreads(error);
      assert.equal(copy.constructor, error.constructor);
      assert.ok(copy instanceof StorageSyncError);
      assert.equal(copy.name, error.name);
      assert.equal(copy.code, error.code);
      assert.equal(copy.message, error.message);
      assert.deepEqual(copy.context, error.context);
      assert.equal(copy.hint, error.hint);
      assert.equal(copy.stack, error.stack);
      assert.ok(copy.cause instanceof Error);
      assert.equal(copy.cause.name, 'TypeError');
      assert.equal((copy.cause as Error & { code?: string }).code, 'ECONNRESET');
    }
    const source = acrossThreads(errors[1]) as SourceError;
    assert.equal(source.retryAfterMs, 1500);
    assert.equal(source.retryable, true);
    assert.ok(acrossThreads(new SyncAbortedError()) instanceof SyncAbortedError);
  });

  it('makes an error of whatever was thrown, and ends with circular causes', () => {
    assert.equal(acrossThreads('text').message, 'text');
    const circular = new Error('a');
    circular.cause = circular;
    assert.equal(acrossThreads(circular).message, 'a');
  });
});
