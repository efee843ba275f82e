import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { freeMemory } from '../src/free-memory.js';

void describe('memory that is freed', () => {
  void it('is given back before the garbage collector runs', () => {
    const before = process.memoryUsage().arrayBuffers;
    for (let i = 0; i < 200; i++) {
      const bytes = Buffer.alloc(1024 * 1024, i);
      freeMemory(bytes);
      assert.equal(bytes.length, 0);
    }
    const held = process.memoryUsage().arrayBuffers - before;
    assert.ok(held < 8 * 1024 * 1024, `${held} bytes are still held`);
  });

  void it('is not what others have a part of', () => {
    const memory = new ArrayBuffer(1024 * 1024);
    freeMemory(new Uint8Array(memory, 0, memory.byteLength - 1));
    assert.equal(memory.byteLength, 1024 * 1024);
  });

  void it('is not what Node shares between small buffers, nor what threads share', () => {
    const small = Buffer.from('some text');
    freeMemory(small);
    assert.equal(small.toString(), 'some text');
    const shared = new Uint8Array(new SharedArrayBuffer(1024 * 1024));
    freeMemory(shared);
    assert.equal(shared.length, 1024 * 1024);
  });
});
