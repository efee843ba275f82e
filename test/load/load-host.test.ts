import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { dataPath } from '../../src/cache/layout.js';
import { Kernel } from '../../src/load/kernel/kernel.js';
import { packBounds } from '../../src/load/key-ranges.js';
import { LoadHost } from '../../src/load/load-host.js';
import { Spool } from '../../src/load/spool.js';
import type { SpoolRef } from '../../src/load/tasks.js';
import type { SourceRef } from '../../src/pipeline/messages.js';
import { KERNEL_FILE } from '../../src/pipeline/worker-urls.js';
import { NativeConnection } from '../../src/source/native-connection.js';
import type { TablePlan } from '../../src/source/plan.js';
import { loadChecksum } from '../../src/transform/checksum.js';
import { plansOf, ROOMY } from '../source/stored-reading.js';
import { changeDatabase } from '../support/databases.js';
import { readGroup } from '../support/record-groups.js';
import { TempDirectory } from '../support/temp.js';

const checksum = await loadChecksum();
const TARGET = { pageSize: 4096, nextPage: 2, transaction: 1 };

/** Tables that have nothing in common, each of many requests. */
const TABLES = [
  `CREATE TABLE few (id INTEGER PRIMARY KEY, body TEXT);
   WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 6000)
   INSERT INTO few SELECT i, printf('%0200d', i) FROM n`,
  `CREATE TABLE many (a BLOB, b TEXT, c INTEGER, d, e, f, PRIMARY KEY (b, c));
   WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 4000)
   INSERT INTO many SELECT zeroblob(i % 90), 'row ' || i, -i, i / 3.0, NULL, i * 70000 FROM n`,
  `CREATE TABLE long (id INTEGER PRIMARY KEY, body TEXT);
   WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 700)
   INSERT INTO long SELECT i, printf('%0*d', 1900 + i * 13, i) FROM n`,
];

/** Not looked at: tasks get connections that are open already. */
const CONNECTION = {} as SourceRef['connection'];

interface Source {
  readonly connection: NativeConnection;
  readonly plan: TablePlan;
  readonly ref: SourceRef;
}

function spoolAt(dir: string): SpoolRef {
  mkdirSync(dir);
  writeFileSync(dataPath(dir), '');
  return Spool.begin({ dir, target: TARGET }, 1, 4 * 1024 * 1024);
}

async function spoolAll(host: LoadHost, { plan, ref }: Source, spool: SpoolRef): Promise<string[]> {
  const { spooled } = await host.spool({
    source: ref,
    plan,
    range: { after: null, upTo: null },
    bounds: ROOMY,
    keys: packBounds([]),
    spool,
  });
  assert.ok(spooled !== null);
  const bytes = Buffer.alloc(spooled.groups.sizes[0]!);
  new Spool(spool).read(0, Float64Array.of(spooled.groups.starts[0]!, bytes.length), bytes);
  const records = readGroup(bytes);
  assert.equal(records.length, spooled.rows);
  const file = readFileSync(dataPath(spool.dir));
  let pages = 0;
  const shown = records.map(({ key, value, isElsewhere }) => {
    if (!isElsewhere) return `${key.toString('hex')} ${value.toString('hex')}`;
    const at = Number(value.readBigUInt64LE(8)) * TARGET.pageSize + 24;
    pages += Number(value.readBigUInt64LE(24));
    return `${key.toString('hex')} ${file.toString('hex', at, at + value.readUInt32LE(0))}`;
  });
  assert.equal(
    pages,
    spooled.values.reduce((sum, range) => sum + range.pages, 0),
  );
  return shown;
}

void describe('the host of loads in a thread', () => {
  void it('keeps apart tasks of several sessions that take turns', async () => {
    await using dir = await TempDirectory.make();
    const sources = new Map<string, Source>();
    try {
      for (const [i, sql] of TABLES.entries()) {
        const file = dir.join(`${i}.db`);
        changeDatabase(file, sql);
        const connection = new NativeConnection(`file:${file}`);
        const ref: SourceRef = { session: String(i), connection: CONNECTION };
        const [plan] = await plansOf(connection);
        sources.set(ref.session, { connection, plan: plan!, ref });
      }
      // Requests of different sessions are not in one queue.
      const host = new LoadHost(
        checksum,
        async ({ session }, work) => await work(sources.get(session)!.connection),
        () => KERNEL_FILE,
      );
      const all = [...sources.values()];
      const alone: string[][] = [];
      for (const [i, source] of all.entries()) {
        alone.push(await spoolAll(host, source, spoolAt(dir.join(`alone-${i}`))));
      }
      const together = await Promise.all(
        all.map((source, i) => spoolAll(host, source, spoolAt(dir.join(`together-${i}`)))),
      );
      for (const [i, records] of alone.entries()) assert.deepEqual(together[i], records);
      const sizes = alone.map((records) => Math.max(...records.map(({ length }) => length)));
      assert.ok(sizes.at(-1)! > 2 * 9000, 'long values are whole');
    } finally {
      for (const { connection } of sources.values()) await connection.close();
    }
  });

  void it('leaves a range alone that is far larger than it seemed', async () => {
    const host = new LoadHost(
      checksum,
      async (_, work) => await work(undefined as never),
      () => KERNEL_FILE,
    );
    const request = {
      source: { session: '', connection: CONNECTION },
      spool: Spool.begin({ dir: 'nowhere', target: TARGET }, 1, 0),
      file: 0,
      parts: Float64Array.of(0, 64 * 1024 * 1024, 64 * 1024 * 1024, 1),
    };
    assert.deepEqual(await host.pack(request), { runs: null });
  });

  void it('has no memory whose addresses would be negative', async () => {
    const kernel = await Kernel.load(KERNEL_FILE);
    const { length } = kernel.bytes;
    assert.throws(() => kernel.reserve(2 ** 31), RangeError);
    assert.throws(() => kernel.reserve(2 ** 33), RangeError);
    assert.equal(kernel.bytes.length, length);
    kernel.reserve(length + 1);
    assert.ok(kernel.bytes.length > length);
  });
});
