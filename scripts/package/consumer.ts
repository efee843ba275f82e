/**
 * A program that uses the installed package: `check-package` copies it into an empty project, type-checks it there as
 * each module resolution sees it, and runs it.
 */
import assert from 'node:assert/strict';
import {
  defineTable,
  openCache,
  readStatus,
  StorageSync,
  type RowSchema,
  type SyncReport,
  type VerifyReport,
} from 'storage-sync';

const notes = defineTable({
  name: 'notes',
  columns: { id: 'integer', text: 'text', mood: 'text?' },
  indexes: [{ name: 'by_mood', columns: ['mood'] }],
});

/** As a schema library makes them. */
const shouting: RowSchema = {
  '~standard': {
    version: 1,
    vendor: 'consumer',
    validate: (row) => ({ value: { loud: String((row as { text: unknown }).text).toUpperCase() } }),
  },
};
const loudNotes = defineTable({ name: 'notes', schema: shouting });

const [url = '', cacheDir = ''] = process.argv.slice(2);

{
  await using storage = await StorageSync.open({ source: { url }, cacheDir, tables: [notes] });
  const report: SyncReport = await storage.sync();
  assert.equal(report.tables['notes']?.rowsRead, 5000);
  const verified: VerifyReport = await storage.verify({ level: 'deep' });
  assert.equal(verified.differences, 0);
}

await using cache = openCache(cacheDir, { validateChecksums: true });
const row = cache.table(notes).get(42);
const text: string | undefined = row?.text;
const mood: string | null | undefined = row?.mood;
assert.deepEqual([text, mood], ['note 42', null]);
assert.equal([...cache.table(notes).byIndex('by_mood', 'glad')].length, 1);
// @ts-expect-error: the definition names no such column.
assert.equal(row?.author, undefined);

const loud: object | undefined = cache.table(loudNotes).get(42);
assert.deepEqual(loud, { loud: 'NOTE 42' });

assert.equal((await readStatus(cacheDir)).state, 'fresh');
console.log('the installed package works');
