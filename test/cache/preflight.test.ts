import assert from 'node:assert/strict';
import fs, { rmSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { describe, it } from 'node:test';
import { Environment } from '../../src/cache/environment.js';
import { preflight } from '../../src/cache/preflight.js';
import { TempDirectory } from '../support/temp.js';

const { fstatSync, readSync } = fs;

/** Runs `look` with a commit before each of its looks at the file. */
function withCommitsBetween(commit: () => void, look: () => void): void {
  fs.fstatSync = ((...args: Parameters<typeof fstatSync>) => {
    commit();
    return fstatSync(...args);
  }) as typeof fstatSync;
  fs.readSync = ((...args: Parameters<typeof readSync>) => {
    commit();
    return readSync(...args);
  }) as typeof readSync;
  syncBuiltinESMExports();
  try {
    look();
  } finally {
    Object.assign(fs, { fstatSync, readSync });
    syncBuiltinESMExports();
  }
}

void describe('a look at a file before LMDB maps it', () => {
  void it('takes one that grows meanwhile for what it is', async () => {
    await using dir = await TempDirectory.make();
    const environment = new Environment(dir.path);
    const rows = environment.rows(1);
    let commits = 0;
    const commit = () => {
      commits++;
      environment.transaction(() => {
        rows.putSync(Buffer.from(`key ${commits}`), Buffer.alloc(300_000));
      });
    };
    commit();
    const before = fs.statSync(dir.join('data.mdb')).size;
    withCommitsBetween(commit, () => preflight(dir.path));
    assert.ok(fs.statSync(dir.join('data.mdb')).size > before + 600_000, 'it grew meanwhile');
    await environment.close();
  });

  void it('lets pass a value that replaced a larger one in the same transaction', async () => {
    await using dir = await TempDirectory.make();
    const environment = new Environment(dir.path);
    environment.transaction(() => {
      for (const bytes of [20_000, 500]) {
        environment.rows(1).putSync(Buffer.from('key'), Buffer.alloc(bytes));
      }
    });
    await environment.close();
    rmSync(dir.join('seal.json'), { force: true });
    preflight(dir.path);
  });
});
