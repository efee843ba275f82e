import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SyncReport } from '../../src/report.js';
import { run } from './command.js';
import { notesSql, TempDir } from './temp-dir.js';

const MEMORY = `
  CREATE TABLE episodes (
    episode_id TEXT PRIMARY KEY NOT NULL, task_type TEXT NOT NULL, task_description TEXT NOT NULL,
    context TEXT NOT NULL, steps TEXT NOT NULL, patterns TEXT NOT NULL,
    heuristics TEXT NOT NULL DEFAULT '[]', checkpoints TEXT NOT NULL DEFAULT '[]',
    metadata TEXT NOT NULL, domain TEXT NOT NULL, language TEXT, start_time INTEGER NOT NULL,
    end_time INTEGER, outcome TEXT, reward TEXT, reflection TEXT, archived_at INTEGER,
    created_at INTEGER NOT NULL);
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
  INSERT INTO episodes (episode_id, task_type, task_description, context, steps, patterns,
    metadata, domain, start_time, created_at)
  SELECT 'e' || i, 'fix', 'do', '{}', '[]', '[]', '{}', 'web', i, i FROM n;
  CREATE TABLE patterns (
    pattern_id TEXT PRIMARY KEY NOT NULL, pattern_type TEXT NOT NULL, pattern_data TEXT NOT NULL,
    success_rate REAL NOT NULL, context_domain TEXT, context_language TEXT, context_tags TEXT,
    occurrence_count INTEGER NOT NULL, created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL);
  INSERT INTO patterns VALUES ('p1', 't', '{}', 0.5, NULL, NULL, NULL, 1, 1, 1);
  CREATE TABLE heuristics (
    heuristic_id TEXT PRIMARY KEY NOT NULL, condition_text TEXT NOT NULL, action_text TEXT NOT NULL,
    confidence REAL NOT NULL, evidence TEXT NOT NULL, created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL);
  CREATE TABLE embeddings (
    embedding_id TEXT PRIMARY KEY NOT NULL, item_id TEXT NOT NULL, item_type TEXT NOT NULL,
    embedding_data TEXT NOT NULL, embedding_vector F32_BLOB(2), dimension INTEGER NOT NULL,
    model TEXT NOT NULL, created_at INTEGER NOT NULL);
  INSERT INTO embeddings VALUES
    ('of-old', 'e1', 'episode', '[0,1]', x'000000000000803f', 2, 'm', 1),
    ('of-new', 'e50', 'episode', '[0,1]', x'000000000000803f', 2, 'm', 1),
    ('of-pattern', 'p1', 'pattern', '[0,1]', x'000000000000803f', 2, 'm', 1);
`;

async function reportOf(args: readonly string[]): Promise<SyncReport> {
  const ran = await run([...args, '--json']);
  assert.equal(ran.code, 0, ran.stderr);
  return JSON.parse(ran.stdout) as SyncReport;
}

void describe('sync and rebuild', () => {
  void it('report as JSON what was done', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', notesSql(2500));
    const args = ['--source', url, '--cache', dir.cache];
    const first = await reportOf(['sync', ...args]);
    assert.equal(first.mode, 'full');
    assert.equal(first.stale, false);
    assert.equal(typeof first.durationMs, 'number');
    assert.equal(typeof first.generation, 'number');
    assert.deepEqual(first.warnings, []);
    assert.equal(first.validation.passed, true);
    const { bytesWritten = 0, durationMs, ...counts } = first.tables['notes'] ?? {};
    assert.ok(bytesWritten > 2500);
    assert.equal(typeof durationMs, 'number');
    assert.deepEqual(counts, {
      mode: 'full',
      rowsRead: 2500,
      rowsWritten: 2500,
      rowsUnchanged: 0,
      rowsDeleted: 0,
      rowsQuarantined: 0,
      sourceRowsRead: 2500,
      resumed: false,
    });

    dir.database(
      'source.db',
      `UPDATE notes SET body = 'changed' WHERE id = 7; DELETE FROM notes WHERE id > 2490;`,
    );
    const { tables } = await reportOf(['sync', ...args]);
    assert.equal(tables['notes']?.rowsWritten, 1);
    assert.equal(tables['notes']?.rowsDeleted, 10);

    const rebuilt = await reportOf(['rebuild', ...args]);
    assert.equal(rebuilt.mode, 'rebuild');
    assert.ok((rebuilt.generation ?? 0) > (first.generation ?? 0));
    assert.equal(rebuilt.tables['notes']?.rowsWritten, 2490);
  });

  void it('report to people in a table', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', notesSql(1200));
    const args = ['--source', url, '--cache', dir.cache];
    const ran = await run(['sync', ...args]);
    assert.equal(ran.code, 0, ran.stderr);
    assert.match(ran.stdout, /^Synced in .*\(full, generation \d+, native\)\.$/m);
    assert.match(ran.stdout, /^table +read +written +unchanged/m);
    assert.match(ran.stdout, /^notes +1,200 +1,200 +0/m);
    assert.match(ran.stdout, /^Validation passed/m);
  });

  void it('say nothing when quiet, but for what was asked for', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('source.db', notesSql(10));
    const args = ['--source', url, '--cache', dir.cache, '--quiet'];
    assert.deepEqual(await run(['sync', ...args]), { code: 0, stdout: '', stderr: '' });
    const ran = await run(['rebuild', ...args, '--json']);
    assert.equal(ran.stderr, '');
    assert.equal((JSON.parse(ran.stdout) as SyncReport).mode, 'rebuild');
  });

  void it('keep the newest of an agent memory with the preset', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('memory.db', MEMORY);
    const limits = ['--max-episodes', '20', '--batch-size', '7'];
    const args = ['sync', '--source', url, '--cache', dir.cache, '--preset', 'memory', ...limits];
    const report = await reportOf(args);
    assert.equal(report.episodesSynced, 20);
    assert.equal(report.patternsSynced, 1);
    assert.equal(report.heuristicsSynced, 0);
    assert.equal(report.embeddingsSynced, 2);
    const exported = await run(['export', 'embeddings', '--cache', dir.cache]);
    assert.deepEqual(exported.stdout.match(/"of-\w+"/g), ['"of-new"', '"of-pattern"']);
  });

  void it('take only the tables that are named, as they are defined', async () => {
    await using dir = await TempDir.make();
    const url = dir.database('memory.db', MEMORY);
    const limits = ['--max-episodes', '5', '--tables', 'Episodes, patterns'];
    const args = ['sync', '--source', url, '--cache', dir.cache, '--preset', 'memory', ...limits];
    const report = await reportOf(args);
    assert.deepEqual(Object.keys(report.tables).sort(), ['episodes', 'patterns']);
    assert.equal(report.tables['episodes']?.rowsRead, 5);
  });

  void it('take the preset from a file, with its fields and some of its tables', async () => {
    await using dir = await TempDir.make();
    const config = {
      source: { url: dir.database('memory.db', MEMORY) },
      cacheDir: dir.cache,
      preset: 'memory',
      memory: { maxEpisodesCache: 8 },
      tables: ['episodes', 'embeddings'],
    };
    const path = await dir.write('memory.json', JSON.stringify(config));
    const report = await reportOf(['sync', '--config', path]);
    assert.deepEqual(Object.keys(report.tables).sort(), ['embeddings', 'episodes']);
    assert.equal(report.episodesSynced, 8);
    assert.equal(report.embeddingsSynced, 2);

    const all = await reportOf(['rebuild', '--config', path, '--preset', 'memory']);
    assert.equal(Object.keys(all.tables).length, 4);
    assert.equal(all.episodesSynced, 8);
  });

  void it('set bad rows aside when asked to', async () => {
    await using dir = await TempDir.make();
    const url = dir.database(
      'source.db',
      `CREATE TABLE keyed (k TEXT PRIMARY KEY NOT NULL, n INTEGER);
       INSERT INTO keyed VALUES ('good', 1), (printf('%.2000c', 'k'), 2);`,
    );
    const args = ['sync', '--source', url, '--cache', dir.cache];
    const failed = await run([...args, '--json']);
    assert.equal(failed.code, 1);
    const { error } = JSON.parse(failed.stdout) as { error: { code: string; message: string } };
    assert.equal(error.code, 'ROW_REJECTED');
    assert.match(error.message, /keyed.*kkkkk/s);

    const report = await reportOf([...args, '--on-row-error', 'quarantine']);
    assert.equal(report.tables['keyed']?.rowsQuarantined, 1);
    assert.equal(report.tables['keyed']?.rowsWritten, 1);
  });
});
