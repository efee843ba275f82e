import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ChangeLogStatus, CompactReport, InstallReport } from '../../src/index.js';
import { run } from '../cli/command.js';
import { notesSql, TempDir } from '../cli/temp-dir.js';

void describe('storage-sync capture', () => {
  void it('installs, tells, compacts and uninstalls', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', `${notesSql(3)} CREATE TABLE loose (a);`);
    const capture = (...args: string[]) => run(['capture', ...args, '--source', url]);

    const installed = await capture('install');
    assert.equal(installed.code, 0, installed.stderr);
    assert.match(installed.stdout, /^notes: installed\nloose: left out \(.*no primary key/);
    const again = JSON.parse((await capture('install', '--json')).stdout) as InstallReport;
    assert.equal(again.tables[0]?.action, 'unchanged');

    dir.database('source.db', `UPDATE notes SET body = 'new'`);
    const status = await capture('status');
    assert.match(status.stdout, /^table +state +rows/);
    assert.match(status.stdout, /\nnotes +installed +3 +3 +0 /);
    const json = JSON.parse((await capture('status', '--json')).stdout) as ChangeLogStatus;
    assert.equal(json.tables[0]?.newestVersion, 3);
    assert.deepEqual(
      json.notCaptured.map(({ table }) => table),
      ['loose'],
    );

    assert.match((await capture('compact')).stdout, /^notes: nothing removed \(it has no reader\)/);
    assert.match((await capture('compact', '--before', '2')).stdout, /^notes: 1 row removed/);
    const compacted = await capture('compact', '--all', '--json', '--forget-readers', '1h');
    assert.deepEqual(JSON.parse(compacted.stdout), {
      tables: [{ table: 'notes', rowsRemoved: 1, compacted: 2, skipped: null }],
      readersForgotten: 0,
    } satisfies CompactReport);

    assert.deepEqual(await capture('uninstall', '--quiet', '--tables', 'notes'), {
      code: 0,
      stdout: '',
      stderr: '',
    });
    assert.equal((await capture('uninstall')).stdout, 'No changes were logged.\n');
  });

  void it('says what is wrong, by its exit code too', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', `${notesSql(3)} CREATE TABLE loose (a);`);
    const wrong: readonly (readonly [readonly string[], number, RegExp])[] = [
      [['install', '--source', url, '--tables', 'loose'], 2, /no primary key/],
      [['install', '--source', url, '--tables', 'none'], 2, /no table "none"/],
      [['uninstall', '--source', url, '--tables', 'notes'], 2, /not logged/],
      [['compact', '--source', url, '--before', 'x'], 2, /whole number/],
      [['status'], 2, /No source is given/],
      [['status', '--source', `file:${dir.join('none.db')}`], 2, /does not exist/],
      [
        ['status', '--source', 'http://127.0.0.1:1', '--retries', '0'],
        4,
        /connection to the source failed/,
      ],
      [['observe'], 2, /unknown command/],
    ];
    for (const [args, code, message] of wrong) {
      const ran = await run(['capture', ...args]);
      assert.equal(ran.code, code, ran.stderr);
      assert.match(ran.stderr, message);
      assert.equal(ran.stdout, '');
    }
    const help = await run(['capture', 'compact', '--help']);
    assert.equal(help.code, 0);
    assert.match(help.stdout, /--forget-readers/);
  });
});
