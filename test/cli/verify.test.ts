import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { VerifyReport } from '../../src/index.js';
import { tamper } from '../verify/tamper.js';
import { startHranaServer } from '../support/hrana/server.js';
import { run } from './command.js';
import { notesSql, TempDir } from './temp-dir.js';

async function withSynced(
  use: (args: readonly string[], dir: TempDir) => Promise<void>,
): Promise<void> {
  await using dir = await TempDir.make();
  const url = dir.database('source.db', notesSql(500));
  const args = ['--source', url, '--cache', dir.cache];
  const synced = await run(['sync', ...args]);
  assert.equal(synced.code, 0, synced.stderr);
  await use(args, dir);
}

void describe('verify', () => {
  void it('exits with 0 where there is no difference, at every level', async () => {
    await withSynced(async (args) => {
      for (const level of ['quick', 'sample', 'deep']) {
        const ran = await run(['verify', ...args, '--level', level]);
        assert.equal(ran.code, 0, ran.stderr);
        assert.match(ran.stdout, new RegExp(`^No differences\\. Verified in .* \\(${level}[,)]`));
        assert.match(ran.stdout, /^notes +\d+ +0 /m);
      }
    });
  });

  void it('names the rows, exits with 3, and with 0 once they are repaired', async () => {
    await withSynced(async (args, dir) => {
      const [damaged, missing] = await tamper(dir.cache, 'notes', (table) => [
        table.flip(100, 2),
        table.remove(200),
      ]);
      const found = await run(['verify', ...args, '--level', 'deep']);
      assert.equal(found.code, 3, found.stderr);
      assert.match(found.stdout, /^3 differences\. /);
      assert.match(found.stdout, new RegExp(`^ +damaged +${damaged!.key}$`, 'm'));
      assert.match(found.stdout, new RegExp(`^ +missing +${missing!.key}$`, 'm'));
      assert.match(
        found.stdout,
        new RegExp(`2 rows differ, keys ${damaged!.key} to ${missing!.key}`),
      );
      assert.match(
        found.stdout,
        /check failed: records: 499 records in the cache, which says it has 500/,
      );
      assert.match(found.stdout, /keeps no change log/);

      const quiet = await run(['verify', ...args, '--level', 'deep', '--quiet']);
      assert.deepEqual([quiet.code, quiet.stdout, quiet.stderr], [3, '', '']);

      const repaired = await run(['verify', ...args, '--level', 'deep', '--repair', '--json']);
      assert.equal(repaired.code, 0, repaired.stderr);
      const report = JSON.parse(repaired.stdout) as VerifyReport;
      assert.equal(report.repaired, 3);
      assert.equal(report.left, 0);
      assert.equal(report.complete, true);
      assert.deepEqual(report.tables['notes']!.differences, {
        damaged: 1,
        differs: 0,
        missing: 1,
        extra: 0,
      });
      assert.equal((await run(['verify', ...args, '--level', 'deep'])).code, 0);
    });
  });

  void it('says what a budget left out, and goes on from there', async () => {
    await withSynced(async (args) => {
      const deep = ['verify', ...args, '--level', 'deep', '--max-source-rows', '300'];
      const first = await run(deep);
      assert.equal(first.code, 0, first.stderr);
      assert.match(first.stdout, /not complete/);
      assert.match(first.stdout, /not looked at: rows behind the key \d+/);
      assert.match(first.stdout, /the next deep verify goes on from here/);
      const second = await run(deep);
      assert.match(second.stdout, /going on from an earlier run/);
    });
  });

  void it('verifies the tables asked for, with the definitions of the sync', async () => {
    await withSynced(async (args, dir) => {
      const config = await dir.write('config.json', JSON.stringify({ tables: ['notes'] }));
      const named = await run([
        'verify',
        ...args,
        '--config',
        config,
        '--tables',
        'NOTES',
        '--json',
      ]);
      assert.equal(named.code, 0, named.stderr);
      assert.deepEqual(Object.keys((JSON.parse(named.stdout) as VerifyReport).tables), ['notes']);
      const unknown = await run(['verify', ...args, '--tables', 'nowhere', '--json']);
      assert.equal(unknown.code, 2);
      const { error } = JSON.parse(unknown.stdout) as { readonly error: { readonly code: string } };
      assert.equal(error.code, 'TABLE_NOT_FOUND');
    });
  });

  void it('exits with 4 where the source is away, and leaves the cache served', async () => {
    await using dir = await TempDir.make();
    dir.database('source.db', notesSql(500));
    await using server = await startHranaServer({ file: dir.join('source.db') });
    const args = ['--source', server.httpUrl, '--cache', dir.cache, '--retries', '0'];
    assert.equal((await run(['sync', ...args])).code, 0);
    await server.stop();
    const away = await run(['verify', ...args, '--json']);
    assert.equal(away.code, 4, away.stderr);
    assert.match(away.stdout, /SOURCE_UNAVAILABLE/);
    const row = await run(['get', 'notes', '7', '--cache', dir.cache]);
    assert.equal(row.code, 0);
    const status = await run(['status', '--cache', dir.cache, '--json']);
    assert.equal((JSON.parse(status.stdout) as { readonly state: string }).state, 'fresh');
  });

  void it('exits with 2 for wrong usage, and with 1 for a cache that is empty or of another source', async () => {
    await withSynced(async (args, dir) => {
      const wrong = await run(['verify', ...args, '--level', 'thorough']);
      assert.equal(wrong.code, 2);
      assert.match(wrong.stderr, /quick, sample, deep/);
      const empty = await run([
        'verify',
        ...args.slice(0, 2),
        '--cache',
        dir.join('none'),
        '--json',
      ]);
      assert.equal(empty.code, 1);
      assert.match(empty.stdout, /CACHE_EMPTY/);
      const other = dir.database('other.db', notesSql(1));
      const mixed = await run(['verify', '--source', other, '--cache', dir.cache, '--json']);
      assert.equal(mixed.code, 1);
      assert.match(mixed.stdout, /CACHE_DEFINITION_MISMATCH/);
    });
  });
});
