import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { CacheError, openCache, readStatus, StorageSync } from '../../src/index.js';
import { COMMAND } from '../cli/command.js';
import { changeDatabase } from '../support/databases.js';
import { Stage } from '../resources/stage.js';

const windows = process.platform === 'win32';

function entriesBelow(path: string): string[] {
  return readdirSync(path).flatMap((name) => {
    const entry = join(path, name);
    return lstatSync(entry).isDirectory() ? [entry, ...entriesBelow(entry)] : [entry];
  });
}

async function isUnsafe(work: () => unknown): Promise<void> {
  await assert.rejects(
    async () => await work(),
    (error: unknown) => {
      assert.ok(error instanceof CacheError && error.code === 'CACHE_UNSAFE', String(error));
      assert.ok(error.hint);
      return true;
    },
  );
}

void describe('the files of a cache', { skip: windows }, () => {
  for (const umask of ['000', '022']) {
    void it(`are for their owner alone with the umask ${umask}`, async () => {
      await using stage = await Stage.set(50);
      const source = `file:${stage.file}`;
      const commands = ['sync', 'rebuild'].map(
        (name) => `"$0" "$1" ${name} --source "$2" --cache "$3" --quiet`,
      );
      const script = `umask ${umask}; ${commands.join(' && ')}`;
      const args = ['-c', script, process.execPath, COMMAND, source, stage.cacheDir];
      await promisify(execFile)('/bin/sh', args);
      assert.equal(lstatSync(stage.cacheDir).mode & 0o777, 0o700);
      const entries = entriesBelow(stage.cacheDir);
      assert.ok(entries.some((entry) => entry.endsWith('/lock.mdb')));
      for (const entry of entries) {
        const stats = lstatSync(entry);
        assert.equal(stats.mode & 0o777, stats.isDirectory() ? 0o700 : 0o600, entry);
      }
    });
  }
});

void describe('a cache directory', { skip: windows }, () => {
  void it('that every user may write is refused, by who syncs, reads or asks', async () => {
    await using stage = await Stage.set(10);
    await using storage = await stage.open();
    await storage.sync();
    chmodSync(stage.cacheDir, 0o777);
    await isUnsafe(() => storage.sync());
    await isUnsafe(() => stage.open());
    await isUnsafe(() => openCache(stage.cacheDir));
    await isUnsafe(() => readStatus(stage.cacheDir));
    chmodSync(stage.cacheDir, 0o1777);
    await isUnsafe(() => stage.open());
    chmodSync(stage.cacheDir, 0o700);
    assert.deepEqual((await storage.sync()).warnings, []);
  });

  void it('that a group may write, or another user owns, is warned of', async (t) => {
    await using stage = await Stage.set(10);
    await using storage = await stage.open();
    await storage.sync();
    chmodSync(stage.cacheDir, 0o770);
    assert.match((await storage.sync()).warnings.join(), /group of the cache directory/);
    chmodSync(stage.cacheDir, 0o700);
    if (process.geteuid?.() !== 0) return t.skip('only root can give it away');
    chownSync(stage.cacheDir, 12345, 12345);
    assert.match((await storage.sync()).warnings.join(), /belongs to another user \(12345\)/);
  });

  void it('may be a link', async () => {
    await using stage = await Stage.set(10);
    const real = stage.dir.join('real');
    mkdirSync(real, { mode: 0o700 });
    symlinkSync(real, stage.cacheDir);
    await using storage = await stage.open();
    const { warnings } = await storage.sync();
    assert.deepEqual(warnings, []);
    assert.equal((await storage.rebuild()).generation, 2);
    assert.equal(storage.cache.table('t').count(), 10);
    assert.ok(existsSync(join(real, 'manifest.json')));
  });

  void it('with a link within is refused, and nothing behind the link is touched', async () => {
    for (const place of [
      'generations',
      'generations/1',
      'generations/1/data.mdb',
      'generations/1/lock.mdb',
      'generations/1/commit.lock',
    ]) {
      await using stage = await Stage.set(10);
      await using first = await stage.open();
      await first.sync();
      await first.close();
      const elsewhere = stage.dir.join('elsewhere');
      renameSync(join(stage.cacheDir, place), elsewhere);
      symlinkSync(elsewhere, join(stage.cacheDir, place));
      if (lstatSync(elsewhere).isDirectory()) writeFileSync(join(elsewhere, 'precious'), 'kept');
      const before = entriesBelow(stage.dir.path).toSorted();
      await using storage = await stage.open();
      await isUnsafe(() => storage.sync());
      await isUnsafe(() => openCache(stage.cacheDir));
      await isUnsafe(() => readStatus(stage.cacheDir));
      if (place === 'generations') await isUnsafe(() => storage.rebuild());
      const after = entriesBelow(stage.dir.path).filter((entry) => !entry.endsWith('state.json'));
      assert.deepEqual(
        after.toSorted(),
        before.filter((entry) => !entry.endsWith('state.json')),
        place,
      );
    }
  });

  void it('writes nothing through a link that waits where a file is about to be written', async () => {
    await using stage = await Stage.set(10);
    await using storage = await stage.open();
    await storage.sync();
    const precious = stage.dir.join('precious');
    writeFileSync(precious, 'kept');
    for (const name of ['manifest.json.tmp', 'manifest.backup.json.tmp', 'state.json.tmp']) {
      symlinkSync(precious, join(stage.cacheDir, name));
    }
    for (const name of [`seal.json.${process.pid}.tmp`, 'room']) {
      symlinkSync(precious, join(stage.cacheDir, 'generations', '1', name));
    }
    stage.change('second');
    await storage.sync();
    await storage.rebuild();
    assert.equal(readFileSync(precious, 'utf8'), 'kept');
    rmSync(join(stage.cacheDir, 'lock'));
    symlinkSync(precious, join(stage.cacheDir, 'lock'));
    await isUnsafe(() => storage.sync());
    assert.equal(readFileSync(precious, 'utf8'), 'kept');
    rmSync(join(stage.cacheDir, 'lock'));
    renameSync(join(stage.cacheDir, 'manifest.json'), stage.dir.join('manifest'));
    symlinkSync(stage.dir.join('manifest'), join(stage.cacheDir, 'manifest.json'));
    await isUnsafe(() => openCache(stage.cacheDir));
    await isUnsafe(() => readStatus(stage.cacheDir));
    await isUnsafe(() => stage.open());
  });

  void it('is never left by what its manifest says', async () => {
    await using stage = await Stage.set(10);
    await using storage = await stage.open();
    await storage.sync();
    const outside = stage.dir.join('outside');
    cpSync(join(stage.cacheDir, 'generations/1'), outside, { recursive: true });
    const path = join(stage.cacheDir, 'manifest.json');
    const manifest = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    for (const live of [
      '../../outside',
      '1/../../../outside',
      outside,
      '..',
      '.',
      '',
      0,
      -1,
      1.5,
      1e300,
      [1],
      { a: 1 },
      true,
    ]) {
      for (const name of ['manifest.json', 'manifest.backup.json']) {
        writeFileSync(join(stage.cacheDir, name), JSON.stringify({ ...manifest, live }));
      }
      const corrupt = { code: 'CACHE_CORRUPT' };
      assert.throws(() => openCache(stage.cacheDir), corrupt, JSON.stringify(live));
      assert.equal((await readStatus(stage.cacheDir)).state, 'corrupt');
      const building = { generation: live, boot: 'x', startedAt: 'x' };
      writeFileSync(path, JSON.stringify({ ...manifest, building }));
      assert.throws(() => openCache(stage.cacheDir), corrupt, JSON.stringify(live));
    }
    assert.ok(existsSync(join(outside, 'data.mdb')));
  });

  void it('keeps what others put beside the generations', async () => {
    await using stage = await Stage.set(10);
    await using storage = await stage.open();
    await storage.sync();
    writeFileSync(join(stage.cacheDir, 'generations/notes.txt'), 'kept');
    await storage.rebuild();
    assert.deepEqual(readdirSync(join(stage.cacheDir, 'generations')).toSorted(), [
      '2',
      'notes.txt',
    ]);
  });
});

void describe('names', () => {
  void it('of any kind are names and nothing else', async () => {
    const names = [
      'a"b',
      "a'b",
      'a`b',
      'a[b]c',
      'semi;colon',
      'DROP TABLE victim; --',
      'new\nline',
      'tab\t',
      'ünïcödé 🐦',
      'sqlitex_x',
      'select',
      '..',
      '../up',
      '/abs',
      '%s%n',
      '${x}',
      '__proto__',
      'constructor',
      ' ',
      'a--b',
      'a/*b*/',
      'x\u202ey',
    ];
    const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;
    await using stage = await Stage.set(5);
    const sql = names.map(
      (name, i) =>
        `CREATE TABLE ${quote(name)} (${quote(`k${name}`)} TEXT PRIMARY KEY NOT NULL, ${quote(name)});
         INSERT INTO ${quote(name)} VALUES (${i}, 'v${i}');`,
    );
    changeDatabase(stage.file, `CREATE TABLE victim (k INTEGER PRIMARY KEY); ${sql.join('\n')}`);
    await using storage = await stage.open();
    await storage.sync();
    await storage.sync({ full: true });
    for (const [i, name] of names.entries()) {
      const row = storage.cache.table(name).get(String(i));
      assert.ok(row && Object.hasOwn(row, name), JSON.stringify(name));
      assert.equal(row[name], `v${i}`);
    }
    assert.equal(storage.cache.table('victim').count(), 0);
    assert.equal((await storage.verify({ level: 'deep' })).left, 0);
    const astray = entriesBelow(stage.dir.path).filter((each) => /\/(up|abs)$/.test(each));
    assert.deepEqual(astray, []);
  });

  void it('with NUL are refused, not cut off', async () => {
    await using stage = await Stage.set(5);
    for (const tables of [['t\0x'], [{ name: 't', key: ['k\0'] }], ['t', 't\0']]) {
      await assert.rejects(
        async () => {
          await using storage: StorageSync = await stage.open({ tables });
          await storage.sync();
        },
        { name: /ConfigError|SourceError/ },
      );
    }
  });
});

void describe('a token on a network without encryption', () => {
  void it('is warned of', async () => {
    const { plainTransportWarning } = await import('../../src/source/plain-transport.js');
    const warned = [
      'http://db.example.com',
      'ws://10.0.0.1:8080',
      'libsql://db.example.com?tls=0',
      'HTTP://db.example.com',
      'http://localhost.example.com',
      'http://127.0.0.1.example.com',
      'http://[::2]',
    ];
    const fine = [
      'https://db.example.com',
      'wss://db.example.com',
      'libsql://db.example.com',
      'libsql://db.example.com?tls=1',
      'http://localhost:8080',
      'http://127.0.0.1',
      'http://[::1]:1',
      'ws://app.localhost',
      'file:http.db',
    ];
    for (const url of warned) {
      assert.match(plainTransportWarning({ url, authToken: 'x' }) ?? '', /without encryption/, url);
      assert.equal(plainTransportWarning({ url }), null, 'nothing to lose');
    }
    for (const url of fine) assert.equal(plainTransportWarning({ url, authToken: 'x' }), null, url);
    assert.match(
      plainTransportWarning({ url: 'http://db.example.com?authToken=x' }) ?? '',
      /token/,
    );
  });
});
