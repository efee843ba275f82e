import assert from 'node:assert/strict';
import {
  chmodSync,
  cpSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  diagnose,
  openCache,
  openChangeLog,
  type Diagnosis,
  type Finding,
} from '../../src/index.js';
import { startHranaServer } from '../support/hrana/server.js';
import { run, RunningCommand, type Ran, type RunOptions } from './command.js';
import { untilRequested } from './slow-source.js';
import { notesSql, TempDir } from './temp-dir.js';

/** What every diagnosis looks at. */
const CHECKS = [
  'host.node',
  'host.lmdb',
  'host.libsql',
  'host.fs-native-extensions',
  'host.memory',
  'host.pressure',
  'host.files',
  'source.reachable',
  'source.token',
  'source.version',
  'source.latency',
  'source.tables',
  'source.cursors',
  'source.capture',
  'cache.directory',
  'cache.owner',
  'cache.disk',
  'cache.pages',
  'cache.state',
  'cache.damage',
  'cache.syncs',
  'cache.writer',
  'cache.modes',
  'cache.readers',
];

async function doctor(
  dir: TempDir,
  source: string,
  flags: readonly string[] = [],
  options: RunOptions = {},
): Promise<Ran> {
  return await run(['doctor', '--source', source, '--cache', dir.cache, ...flags], options);
}

async function diagnosed(
  dir: TempDir,
  source: string,
  flags: readonly string[] = [],
  options: RunOptions = {},
): Promise<{ readonly code: number | null; readonly diagnosis: Diagnosis }> {
  const { code, stdout, stderr } = await doctor(dir, source, ['--json', ...flags], options);
  assert.equal(stderr.replace(/^storage-sync: warning: .*\n/gm, ''), '');
  return { code, diagnosis: JSON.parse(stdout) as Diagnosis };
}

/** The one finding of a check. */
function findingOf({ findings }: Diagnosis, check: string): Finding {
  const found = findings.filter((each) => each.check === check);
  assert.equal(found.length, 1, `${found.length} findings of ${check}`);
  return found[0]!;
}

function statusesOf({ findings }: Diagnosis): Record<string, string> {
  return Object.fromEntries(findings.map(({ check, status }) => [check, status]));
}

function failedOf({ findings }: Diagnosis): string[] {
  return findings.filter(({ status }) => status === 'failed').map(({ check }) => check);
}

async function synced(rows = 5): Promise<{ dir: TempDir; url: string }> {
  const dir = await TempDir.make();
  const url = dir.database('notes.db', `PRAGMA journal_mode = WAL; ${notesSql(rows)}`);
  await sync(dir, url);
  return { dir, url };
}

async function sync(dir: TempDir, url: string, flags: readonly string[] = []): Promise<void> {
  const ran = await run(['sync', '--source', url, '--cache', dir.cache, '--quiet', ...flags]);
  assert.equal(ran.code, 0, ran.stderr);
}

/** Every file below a directory, with all by which it may be told to have changed. */
function filesOf(path: string): Record<string, string> {
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' }).toSorted();
  return Object.fromEntries(
    names.map((name) => {
      const { size, mtimeNs, mode } = statSync(join(path, name), { bigint: true });
      // LMDB's readers note themselves in its table of readers.
      const isReaderTable = name.endsWith('lock.mdb');
      return [name, `${size} ${mode} ${isReaderTable ? '' : mtimeNs}`];
    }),
  );
}

void describe('storage-sync doctor', () => {
  void it('looks at everything, and changes nothing', async () => {
    const { dir, url } = await synced();
    await using _ = dir;
    // What a sync, which reads the source as SQLite does, left beside it.
    for (const name of ['notes.db-wal', 'notes.db-shm']) rmSync(dir.join(name), { force: true });
    rmSync(join(dir.cache, 'generations/1/seal.json'));
    const before = filesOf(dir.path);
    const { code, diagnosis } = await diagnosed(dir, url);
    assert.equal(code, 0);
    assert.deepEqual(filesOf(dir.path), before);
    assert.deepEqual(
      diagnosis.findings.map(({ check }) => check),
      CHECKS,
    );
    assert.equal(diagnosis.healthy, true);
    assert.equal(diagnosis.source, url);
    const { 'host.memory': _m, 'host.pressure': _p, ...statuses } = statusesOf(diagnosis);
    assert.deepEqual([...new Set(Object.values(statuses))], ['ok'], JSON.stringify(statuses));
    assert.match(
      findingOf(diagnosis, 'source.version').found,
      /^SQLite 3\.\d+\.\d+, read by native$/,
    );
    assert.match(findingOf(diagnosis, 'host.lmdb').found, /^lmdb \d+\.\d+\.\d+ is loaded$/);
    assert.match(findingOf(diagnosis, 'source.tables').found, /^1 table to sync: "notes"$/);
    assert.match(findingOf(diagnosis, 'cache.state').found, /^fresh, .* old, 1 table$/);
  });

  void it('is a function of the library, too', async () => {
    const { dir, url } = await synced();
    await using _ = dir;
    const found = await diagnose({ source: { url }, cacheDir: dir.cache });
    assert.equal(found.healthy, true);
    assert.deepEqual(
      found.findings.map(({ check }) => check),
      CHECKS,
    );
    await assert.rejects(diagnose({ source: { url }, cacheDir: '' }), { code: 'CONFIG_INVALID' });
  });

  void it('makes no directory where there is no cache', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('notes.db', notesSql(1));
    const { code, diagnosis } = await diagnosed(dir, url);
    assert.equal(code, 0);
    assert.deepEqual(readdirSync(dir.path), ['notes.db']);
    assert.equal(findingOf(diagnosis, 'cache.state').status, 'warning');
    assert.match(findingOf(diagnosis, 'cache.directory').found, /can be read and written/);
  });

  void it('survives any damage to the file, and says what it is', async () => {
    const { dir, url } = await synced(3000);
    await using _ = dir;
    const whole = dir.join('whole');
    cpSync(dir.cache, whole, { recursive: true, preserveTimestamps: true });
    const data = join(dir.cache, 'generations/1/data.mdb');
    const bytes = readFileSync(data);
    const damages: readonly (readonly [string, Buffer])[] = [
      ['halved', bytes.subarray(0, bytes.length / 2)],
      ['cut to a page', bytes.subarray(0, 4096)],
      ['empty', Buffer.alloc(0)],
      ['zeroed', Buffer.alloc(bytes.length)],
      [
        'zeroed behind its meta pages',
        Buffer.concat([bytes.subarray(0, 8192), Buffer.alloc(bytes.length - 8192)]),
      ],
      [
        'garbage behind its meta pages',
        Buffer.concat([bytes.subarray(0, 8192), Buffer.alloc(bytes.length - 8192, 0xa5)]),
      ],
      ['of another type', readFileSync(dir.join('notes.db'))],
    ];
    for (const [what, damaged] of damages) {
      rmSync(dir.cache, { recursive: true });
      cpSync(whole, dir.cache, { recursive: true, preserveTimestamps: true });
      writeFileSync(data, damaged);
      // As a disk damages it: what is noted of the file still says that it is sound.
      const { size, mtimeNs } = statSync(data, { bigint: true });
      const seal = { bytes: Number(size), modified: String(mtimeNs) };
      writeFileSync(join(dir.cache, 'generations/1/seal.json'), JSON.stringify(seal));
      const before = filesOf(dir.cache);
      const { code, diagnosis } = await diagnosed(dir, url);
      assert.equal(code, 1, what);
      assert.equal(diagnosis.healthy, false);
      assert.deepEqual(failedOf(diagnosis), ['cache.pages', 'cache.state'], what);
      const state = findingOf(diagnosis, 'cache.state');
      assert.equal(state.code, 'CACHE_CORRUPT');
      assert.match(String(state.hint), /storage-sync sync/);
      assert.equal(findingOf(diagnosis, 'cache.damage').status, 'skipped');
      assert.deepEqual(filesOf(dir.cache), before, what);
    }
    rmSync(dir.cache, { recursive: true });
    cpSync(whole, dir.cache, { recursive: true });
    for (const name of ['manifest.json', 'manifest.backup.json']) {
      writeFileSync(join(dir.cache, name), 'neither this nor that');
    }
    const { code, diagnosis } = await diagnosed(dir, url);
    assert.equal(code, 1);
    assert.deepEqual(failedOf(diagnosis), ['cache.state']);
    // The hint is true.
    await sync(dir, url);
    assert.equal((await diagnosed(dir, url)).code, 0);
  });

  void it('does not open a file that LMDB would make files beside', async () => {
    const { dir, url } = await synced();
    await using _ = dir;
    for (const name of ['lock.mdb', 'commit.lock']) {
      rmSync(join(dir.cache, 'generations/1', name));
    }
    const before = filesOf(dir.cache);
    const { code, diagnosis } = await diagnosed(dir, url);
    assert.equal(code, 0);
    assert.deepEqual(filesOf(dir.cache), before);
    assert.equal(findingOf(diagnosis, 'cache.pages').status, 'ok');
    assert.equal(findingOf(diagnosis, 'cache.state').status, 'skipped');
    assert.equal((await run(['status', '--cache', dir.cache])).code, 0);
    assert.equal(findingOf((await diagnosed(dir, url)).diagnosis, 'cache.state').status, 'ok');
  });

  void it('names who writes the cache, does not disturb it, and knows who was killed', async () => {
    await using dir = await TempDir.make();
    dir.database('source.db', notesSql(40));
    await using server = await startHranaServer({ file: dir.join('source.db') });
    await server.fault({ action: { kind: 'latency', ms: 2000 }, sql: /body/, times: Infinity });
    const args = ['--source', server.httpUrl, '--cache', dir.cache];
    const first = new RunningCommand(['sync', ...args, '--json']);
    await untilRequested(server, 2);
    // So that it is under way for as long as the diagnosis takes.
    first.process.kill('SIGSTOP');
    const during = await diagnosed(dir, server.httpUrl);
    first.process.kill('SIGCONT');
    assert.equal(during.code, 0, JSON.stringify(during.diagnosis.findings));
    const writer = findingOf(during.diagnosis, 'cache.writer');
    assert.match(writer.found, new RegExp(`^process ${first.process.pid} on .* \\(sync\\)`));
    assert.match(String(writer.hint), /CACHE_LOCKED/);
    const ran = await first.ended;
    assert.equal(ran.code, 0, ran.stderr);

    await server.resetStats();
    const second = new RunningCommand(['sync', ...args, '--full']);
    await untilRequested(server, 2);
    second.process.kill('SIGKILL');
    await second.ended;
    const after = await diagnosed(dir, server.httpUrl);
    assert.equal(after.code, 0);
    const killed = findingOf(after.diagnosis, 'cache.writer');
    assert.equal(killed.status, 'ok');
    assert.match(killed.found, new RegExp(`process ${second.process.pid} was killed`));
    assert.match(String(killed.hint), /nothing to remove/);
  });

  void it('tells a refused token from a server that is away', async () => {
    await using dir = await TempDir.make();
    dir.database('source.db', notesSql(5));
    await using server = await startHranaServer({ file: dir.join('source.db'), token: 'right' });
    const url = server.httpUrl;
    await sync(dir, url, ['--auth-token', 'right']);
    const refused = await diagnosed(dir, url, ['--auth-token', 'wr0ng-token']);
    assert.equal(refused.code, 1);
    assert.deepEqual(failedOf(refused.diagnosis), ['source.token']);
    const token = findingOf(refused.diagnosis, 'source.token');
    assert.equal(token.code, 'SOURCE_UNAUTHORIZED');
    assert.doesNotMatch(JSON.stringify(refused.diagnosis), /wr0ng/);
    assert.equal(findingOf(refused.diagnosis, 'source.tables').status, 'skipped');

    await server.stop();
    const away = await diagnosed(dir, `${url}?authToken=hidden-token`);
    assert.equal(away.code, 4);
    assert.deepEqual(failedOf(away.diagnosis), ['source.reachable']);
    assert.equal(findingOf(away.diagnosis, 'source.reachable').code, 'SOURCE_UNAVAILABLE');
    assert.equal(findingOf(away.diagnosis, 'cache.state').status, 'ok');
    assert.doesNotMatch(JSON.stringify(away.diagnosis), /hidden/);

    writeFileSync(join(dir.cache, 'generations/1/data.mdb'), '');
    assert.equal((await diagnosed(dir, url)).code, 1, 'more than the source is wrong');
  });

  void it('does not wait for ever, and tells slow answers', async () => {
    await using dir = await TempDir.make();
    dir.database('source.db', notesSql(5));
    await using slow = await startHranaServer({ file: dir.join('source.db'), latencyMs: 400 });
    const { code, diagnosis } = await diagnosed(dir, slow.httpUrl);
    assert.equal(code, 0);
    const latency = findingOf(diagnosis, 'source.latency');
    assert.equal(latency.status, 'warning');
    assert.match(String(latency.hint), /--request-timeout/);
    await slow.fault({ action: { kind: 'stall' }, times: Infinity });
    const stalled = await diagnosed(dir, slow.httpUrl, ['--request-timeout', '1s']);
    assert.equal(stalled.code, 4);
    assert.equal(findingOf(stalled.diagnosis, 'source.reachable').code, 'SOURCE_TIMEOUT');
    await slow.clearFaults();
    // A connection that broke off once is no outage.
    await slow.fault({ action: { kind: 'reset' }, times: 1 });
    const again = await diagnosed(dir, slow.httpUrl);
    assert.equal(again.code, 0, failedOf(again.diagnosis).join());
  });

  void it('tells how a server is read, and that it has no cursors', async () => {
    await using dir = await TempDir.make();
    dir.database('source.db', notesSql(5));
    const file = dir.join('source.db');
    await using server = await startHranaServer({ file });
    const found = findingOf((await diagnosed(dir, server.httpUrl)).diagnosis, 'source.version');
    assert.equal(found.status, 'ok');
    assert.match(found.found, /^SQLite .*, read by http-protobuf-cursor$/);
    await using old = await startHranaServer({ file, versions: { v3: false, v3Protobuf: false } });
    const older = findingOf((await diagnosed(dir, old.httpUrl)).diagnosis, 'source.version');
    assert.equal(older.status, 'warning');
    assert.match(older.found, /read by http-pipeline$/);
  });

  void it('refuses a directory that cannot be read, and goes on', async () => {
    const { dir, url } = await synced();
    await using _ = dir;
    const nobody = process.getuid?.() === 0 ? { uid: 65534 } : {};
    chmodSync(dir.path, 0o755);
    chmodSync(dir.cache, process.getuid?.() === 0 ? 0o700 : 0);
    try {
      const { code, diagnosis } = await diagnosed(dir, url, [], nobody);
      assert.equal(code, 1);
      assert.ok(failedOf(diagnosis).includes('cache.directory'));
      assert.match(String(findingOf(diagnosis, 'cache.directory').hint), /--cache/);
      assert.equal(findingOf(diagnosis, 'source.reachable').status, 'ok');
      assert.equal(findingOf(diagnosis, 'cache.writer').status, 'skipped');
    } finally {
      chmodSync(dir.cache, 0o700);
    }
    chmodSync(dir.cache, 0o777);
    const open = await diagnosed(dir, url);
    assert.equal(open.code, 1);
    assert.equal(findingOf(open.diagnosis, 'cache.owner').code, 'CACHE_UNSAFE');
    rmSync(dir.cache, { recursive: true });
    writeFileSync(dir.cache, 'a file');
    const file = await diagnosed(dir, url);
    assert.equal(file.code, 1);
    assert.match(findingOf(file.diagnosis, 'cache.directory').found, /is not a directory/);
  });

  void it('is stopped by a wrong configuration, by name', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('notes.db', notesSql(1));
    const config = await dir.write('wrong.json', '{"batchSize": 0}');
    const { code, stdout } = await doctor(dir, url, ['--json', '--config', config]);
    assert.equal(code, 2);
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
    assert.equal(error.code, 'CONFIG_INVALID');
    assert.match(error.message, /wrong\.json.*batchSize must be at least 1/);
    const none = await run(['doctor', '--cache', dir.cache]);
    assert.equal(none.code, 2);
    assert.match(none.stderr, /No source is given/);
  });

  void it('finds a source that is not what it should be', async () => {
    await using dir = await TempDir.make();
    const text = await dir.write(
      'text.db',
      'this is no database, however long it may be\n'.repeat(99),
    );
    const wrong: readonly (readonly [string, string, string])[] = [
      [`file:${dir.join('none.db')}`, 'source.reachable', 'SOURCE_NOT_FOUND'],
      [`file:${text}`, 'source.reachable', 'SOURCE_NOT_A_DATABASE'],
    ];
    for (const [url, check, code] of wrong) {
      const { code: exit, diagnosis } = await diagnosed(dir, url);
      assert.equal(exit, 1, url);
      assert.deepEqual(failedOf(diagnosis), [check]);
      assert.equal(findingOf(diagnosis, check).code, code);
    }
    const url = dir.database('notes.db', notesSql(1));
    const { code, diagnosis } = await diagnosed(dir, url, ['--tables', 'notes,missing']);
    assert.equal(code, 1);
    assert.equal(findingOf(diagnosis, 'source.tables').code, 'TABLE_NOT_FOUND');
  });

  void it('says what makes syncs slow: tables read in full, cursors without an index', async () => {
    const { dir, url } = await synced(100_000);
    await using _ = dir;
    const slow = findingOf((await diagnosed(dir, url)).diagnosis, 'cache.modes');
    assert.equal(slow.status, 'warning');
    assert.match(slow.found, /^each sync reads all rows of "notes"$/);
    assert.match(String(slow.hint), /storage-sync capture install/);
    const chosen = await dir.write('c.json', '{"tables":[{"name":"notes","mode":"full"}]}');
    const asked = await diagnosed(dir, url, ['--config', chosen]);
    assert.equal(findingOf(asked.diagnosis, 'cache.modes').status, 'ok');

    const cursor = await dir.write(
      'd.json',
      '{"tables":[{"name":"notes","cursor":{"column":"body"}}]}',
    );
    const unindexed = findingOf(
      (await diagnosed(dir, url, ['--config', cursor])).diagnosis,
      'source.cursors',
    );
    assert.equal(unindexed.status, 'warning');
    assert.match(unindexed.found, /No index of "notes" begins with the cursor/);
    dir.database('notes.db', 'CREATE INDEX by_body ON notes (body)');
    const indexed = findingOf(
      (await diagnosed(dir, url, ['--config', cursor])).diagnosis,
      'source.cursors',
    );
    assert.equal(indexed.status, 'ok');

    assert.equal((await run(['capture', 'install', '--source', url])).code, 0);
    await sync(dir, url);
    const { diagnosis } = await diagnosed(dir, url);
    assert.equal(findingOf(diagnosis, 'cache.modes').status, 'ok');
    assert.match(
      findingOf(diagnosis, 'source.capture').found,
      /the log of "notes" is whole: 0 changes at most, 1 reader$/,
    );
  });

  void it('looks at change logs: broken ones, and those kept for readers that are gone', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('notes.db', notesSql(5));
    await using log = await openChangeLog({ url });
    await log.install();
    await sync(dir, url);
    dir.database('notes.db', "UPDATE notes SET body = 'x'");
    const week = 8 * 24 * 3_600_000;
    dir.database('notes.db', `UPDATE storage_sync_reader SET seen_at = seen_at - ${week}`);
    const kept = findingOf((await diagnosed(dir, url)).diagnosis, 'source.capture');
    assert.equal(kept.status, 'warning');
    assert.match(kept.found, /1 reader not seen for a week/);
    // The hint is true.
    const compact = /storage-sync (capture compact \S+ \S+)`/.exec(String(kept.hint))![1]!;
    assert.equal((await run([...compact.split(' '), '--source', url])).code, 0);
    const { found } = findingOf((await diagnosed(dir, url)).diagnosis, 'source.capture');
    assert.match(found, /0 readers$/);
    dir.database('notes.db', 'CREATE UNIQUE INDEX one ON notes (id, body)');
    const broken = findingOf((await diagnosed(dir, url)).diagnosis, 'source.capture');
    assert.equal(broken.status, 'warning');
    assert.match(broken.found, /cannot be relied on/);
    assert.match(String(broken.hint), /capture install/);
  });

  void it('names the readers of old states, and the syncs that failed', async () => {
    const { dir, url } = await synced();
    await using _ = dir;
    const cache = openCache(dir.cache);
    const snapshot = cache.snapshot();
    try {
      snapshot.table('notes').get(1);
      for (const body of ['one', 'two']) {
        dir.database('notes.db', `UPDATE notes SET body = '${body}'`);
        await sync(dir, url);
      }
      const readers = findingOf((await diagnosed(dir, url)).diagnosis, 'cache.readers');
      assert.equal(readers.status, 'warning');
      assert.match(readers.found, new RegExp(`process ${process.pid}, thread`));
    } finally {
      snapshot.close();
      await cache.close();
    }
    dir.database('notes.db', 'DELETE FROM notes');
    assert.equal(findingOf((await diagnosed(dir, url)).diagnosis, 'cache.syncs').status, 'ok');
    dir.database('notes.db', `DROP TABLE notes; CREATE TABLE notes (rowid, _rowid_, oid)`);
    assert.notEqual(
      (await run(['sync', '--tables', 'notes', '--source', url, '--cache', dir.cache])).code,
      0,
    );
    const failed = findingOf((await diagnosed(dir, url)).diagnosis, 'cache.syncs');
    assert.equal(failed.status, 'warning');
    assert.match(
      failed.found,
      /^1 sync failed since the last complete one; at .* with TABLE_NOT_SUPPORTED: /,
    );
  });

  void it('says which native package cannot be loaded', async () => {
    const { dir, url } = await synced();
    await using _ = dir;
    const hooks = `export const resolve = (name, context, next) => {
      if (name === 'lmdb') throw new Error('No native build was found for this platform');
      return next(name, context);
    };`;
    const preload = `import { register } from 'node:module';
      register(${JSON.stringify(`data:text/javascript,${encodeURIComponent(hooks)}`)});`;
    const env = { NODE_OPTIONS: `--import ${await dir.write('preload.mjs', preload)}` };
    const { code, diagnosis } = await diagnosed(dir, url, [], { env });
    assert.equal(code, 1);
    assert.deepEqual(failedOf(diagnosis), ['host.lmdb']);
    assert.match(findingOf(diagnosis, 'host.lmdb').found, /No native build/);
    assert.equal(findingOf(diagnosis, 'cache.state').status, 'skipped');
    assert.equal(findingOf(diagnosis, 'source.reachable').status, 'ok');
  });

  void it('is text for people: what is wrong alone when it is to be quiet', async () => {
    const { dir, url } = await synced();
    await using _ = dir;
    const all = await doctor(dir, url);
    assert.equal(all.code, 0);
    assert.match(all.stdout, /^storage-sync \d+\.\d+\.\d+, from file:/);
    assert.match(all.stdout, /^ok {6}cache\.damage /m);
    assert.match(all.stdout, /\n\nNothing failed; \d+ warnings?\.\n$/);
    writeFileSync(join(dir.cache, 'generations/1/data.mdb'), '');
    const quiet = await doctor(dir, url, ['--quiet']);
    assert.equal(quiet.code, 1);
    assert.match(quiet.stdout, /^FAILED {2}cache\.state /m);
    assert.doesNotMatch(quiet.stdout, /^ok/m);
    const help = await run(['doctor', '--help']);
    assert.match(help.stdout, /changes nothing/);
  });
});
