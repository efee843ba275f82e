import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CacheError } from '../../src/index.js';
import { Environment, MAX_READERS } from '../../src/cache/environment.js';
import { ReadingProcess } from './reading-process.js';
import { Stage } from './stage.js';

const inProcess = promisify(execFile);

void describe('too few file descriptors', { skip: process.platform === 'win32' }, () => {
  for (const left of ['0 1 2 3 4 5 6', '7 8 9 10 11 12', '13 20 45']) {
    void it(`fail what needs them, with the reason, and nothing else: ${left} free`, async () => {
      const child = fileURLToPath(new URL('./few-files-child.js', import.meta.url));
      const command = `ulimit -n 200; exec "$0" "$@"`;
      const args = ['-c', command, process.execPath, child, ...left.split(' ')];
      const { stdout } = await inProcess('/bin/sh', args);
      assert.equal(stdout, 'survived\n');
    });
  }
});

void describe('more readers than the cache has places for', () => {
  void it('are refused by name of the limit, and what is open goes on', async () => {
    await using stage = await Stage.set(20);
    await using storage = await stage.open();
    await storage.sync();
    await using other = await ReadingProcess.start(stage.cacheDir);
    const dir = join(stage.cacheDir, 'generations/1');
    const environment = new Environment(dir);
    const source = environment.source()!;
    const held: { done(): void }[] = [];
    let refusal: unknown = null;
    while (refusal === null && held.length <= MAX_READERS) {
      try {
        // Snapshots of one state share a place.
        environment.transaction(() => environment.putSource(source));
        environment.refresh();
        held.push(environment.beginRead());
      } catch (error) {
        refusal = error;
      }
    }
    assert.ok(refusal instanceof CacheError && refusal.code === 'CACHE_READERS_FULL');
    assert.match(refusal.message, new RegExp(String(MAX_READERS)));
    assert.match(String(refusal.hint), /status/);
    assert.equal(await other.look(), '20 rows, 1 values, first---');
    assert.throws(() => storage.cache.snapshot(), { code: 'CACHE_READERS_FULL' });
    // The place of a process that is gone is free again.
    await other.kill();
    environment.readerTable();
    held.push(environment.beginRead());
    for (const each of held) each.done();
    await environment.close();
    stage.change('second');
    await storage.sync();
    assert.match(String(storage.cache.table('t').get(1)?.['v']), /^second/);
  });
});
