import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { describe, it } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Environment, lentValue } from '../../src/cache/environment.js';
import { TempDirectory } from '../support/temp.js';

const OPENER = fileURLToPath(new URL('./opener.js', import.meta.url));
const OPENERS = 2;
const OPENINGS = 400;
const CLOSERS = 4;
const COUNTER = Buffer.from('counter');

void describe('an environment that other processes open', () => {
  void it('loses no transaction that is committed meanwhile', async () => {
    await using dir = await TempDirectory.make();
    // Without waiting for the disk there are as many commits as can be.
    const environment = new Environment(dir.path, { unpublished: true });
    const rows = environment.rows(1);
    let committed = 0;
    const commit = () =>
      environment.transaction(() => {
        const found = lentValue(rows, COUNTER)?.readUInt32LE() ?? 0;
        assert.equal(found, committed, 'the transaction before is there');
        const next = Buffer.alloc(4);
        next.writeUInt32LE(committed + 1);
        rows.putSync(COUNTER, next);
      });
    const ends = Array.from({ length: OPENERS }, async () => {
      const opener = fork(OPENER, [dir.path, String(OPENINGS)], { stdio: 'ignore' });
      return await new Promise((resolve) => opener.on('close', resolve));
    });
    let running = OPENERS;
    for (const end of ends) void end.then(() => running--);
    while (running > 0) {
      for (let i = 0; i < 50; i++) {
        commit();
        committed++;
      }
      await setImmediate();
    }
    assert.deepEqual(await Promise.all(ends), [0, 0], 'the others opened it without trouble');
    assert.ok(committed > OPENINGS, `${committed} transactions`);
    await environment.close();
  });

  void it('may be closed last by one of them while another one opens it', async () => {
    await using dir = await TempDirectory.make();
    const environment = new Environment(dir.path);
    environment.rows(1);
    await environment.close();
    const openers = Array.from({ length: CLOSERS }, async () => {
      const opener = fork(OPENER, [dir.path, String(OPENINGS)], { stdio: 'ignore' });
      return await new Promise((resolve) => opener.on('close', resolve));
    });
    assert.deepEqual(
      await Promise.all(openers),
      Array.from({ length: CLOSERS }, () => 0),
    );
  });
});
