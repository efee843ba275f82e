import assert from 'node:assert/strict';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Stage } from './stage.js';

/** What a process that is gone left behind. */
void describe('a start', () => {
  for (const [whose, pid] of [
    ['no process', 2 ** 22 + 1],
    ['another process', process.ppid],
    ['this process', process.pid],
  ] as const) {
    void it(`goes on beside the lock file of a process that is gone, with the number of ${whose}`, async () => {
      await using stage = await Stage.set(10);
      mkdirSync(stage.cacheDir, { mode: 0o700 });
      const holder = { pid, host: 'here', startedAt: new Date().toISOString(), mode: 'sync' };
      writeFileSync(join(stage.cacheDir, 'lock'), JSON.stringify(holder));
      await using storage = await stage.open();
      assert.equal((await storage.status()).holder, null);
      assert.equal((await storage.sync()).tables['t']?.rowsWritten, 10);
    });
  }

  void it('looks at a file that a process of the same number left behind', async () => {
    await using stage = await Stage.set(2000);
    {
      await using storage = await stage.open();
      await storage.sync();
    }
    const generation = join(stage.cacheDir, 'generations/1');
    const path = join(generation, 'data.mdb');
    const fd = openSync(path, 'r+');
    for (let at = 8 * 4096; at < statSync(path).size; at += 4096) {
      writeSync(fd, Buffer.alloc(4096, 0xa5), 0, 4096, at);
    }
    closeSync(fd);
    const seal = { writer: process.pid, since: new Date(0).toISOString() };
    writeFileSync(join(generation, 'seal.json'), JSON.stringify(seal));
    await using storage = await stage.open();
    const { warnings, generation: now } = await storage.sync();
    assert.match(warnings[0]!, /damaged, and was built anew/);
    assert.equal(now, 2);
    assert.equal(storage.cache.table('t').count(), 2000);
  });

  void it('clears away what was about to take the place of something', async () => {
    await using stage = await Stage.set(10);
    await using storage = await stage.open();
    await storage.sync();
    for (const name of ['manifest.json.tmp', 'manifest.backup.json.tmp', 'state.json.tmp']) {
      writeFileSync(join(stage.cacheDir, name), 'half of i');
    }
    const generations = join(stage.cacheDir, 'generations');
    mkdirSync(join(generations, '7'));
    writeFileSync(join(generations, '7/data.mdb'), 'half of i');
    await storage.sync();
    assert.ok(!readdirSync(stage.cacheDir).some((name) => name.endsWith('.tmp')));
    await storage.rebuild();
    assert.ok(!existsSync(join(generations, '7')));
    assert.equal(storage.cache.table('t').count(), 10);
  });
});
