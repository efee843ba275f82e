import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Kernel } from '../../../src/load/kernel/kernel.js';
import { PageKernel } from '../../../src/load/kernel/page-kernel.js';
import { RowKernel } from '../../../src/load/kernel/row-kernel.js';
import { packBounds } from '../../../src/load/key-ranges.js';
import { LeafRecords } from '../../../src/load/leaf-records.js';
import { KERNEL_FILE } from '../../../src/pipeline/worker-urls.js';
import { NativeConnection } from '../../../src/source/native-connection.js';
import type { TablePlan } from '../../../src/source/plan.js';
import { scanRows, type LeafSink, type RowidRange } from '../../../src/source/stored/leaf-scan.js';
import { StoredFormError } from '../../../src/source/stored/stored-form-error.js';
import { UnknownDefault, type StoredTable } from '../../../src/source/stored/stored-table.js';
import { TableBtree } from '../../../src/source/stored/table-btree.js';
import { BatchBuilder, recordsOf } from '../../../src/transform/batch.js';
import { loadChecksum } from '../../../src/transform/checksum.js';
import { plansOf } from '../../source/stored-reading.js';
import { changeDatabase, insert } from '../../support/databases.js';
import { assertRunsHold } from '../../load/mixed-runs.js';
import { assertRunsAlike } from '../../load/runs-alike.js';
import { ValueFile } from '../../load/value-file.js';
import {
  elsewhere,
  readGroup,
  writeGroup,
  type SpooledRecord,
} from '../../support/record-groups.js';
import type { Random } from '../../support/random.js';
import type { Target } from '../target.js';
import { oneByOne } from '../../support/one-by-one.js';

const checksum = await loadChecksum();
const CANARY = 0xa5;
const CANARY_BYTES = 4096;
/** For pages of one request: four times what they are, what cells take, and all that once more in groups; and of values. */
const MOST_MEMORY = 18 * 1024 * 1024;
const HEADER_BYTES = 8;

/** A table of a file, whose pages are whatever a case makes of them. */
interface Subject {
  readonly plan: TablePlan;
  readonly table: StoredTable;
  readonly btree: TableBtree;
  readonly leaves: readonly number[];
  readonly file: Buffer;
  readonly pageBytes: number;
  /** What reading gives instead of the file's pages. */
  readonly pages: Map<number, Buffer>;
}

/** Leaf pages and groups of records that may be anything, given to the WebAssembly of loads. */
export async function kernel(directory: string): Promise<Target> {
  const guarded = await GuardedKernel.make();
  const subjects: Subject[] = [];
  for (const pageSize of [512, 1024, 4096, 65_536]) {
    const tables = await subjectsIn(join(directory, `${pageSize}.db`), pageSize);
    // Of long values as many cases as of all else.
    const long = tables.filter(({ plan }) => plan.name === 'g');
    subjects.push(...tables, ...Array.from({ length: tables.length - 2 }, () => long).flat());
  }
  const run = async (random: Random) => {
    if (random.chance(0.3)) tryGroup(guarded, random);
    else await tryLeaves(guarded, random, random.pick(subjects), join(directory, 'values'));
  };
  return { run, [Symbol.asyncDispose]: () => Promise.resolve() };
}

/** A kernel behind whose memory, as far as its hosts have reserved it, lies what must not change. */
class GuardedKernel {
  readonly kernel: Kernel;
  readonly rows: RowKernel;
  readonly pages: PageKernel;
  #end: number | null = null;

  private constructor(inner: Kernel) {
    this.kernel = inner;
    const reserve = inner.reserve.bind(inner);
    Object.defineProperty(inner, 'reserve', {
      value: (end: number) => {
        reserve(end + CANARY_BYTES);
        inner.bytes.fill(CANARY, end, end + CANARY_BYTES);
        this.#end = end;
      },
    });
    this.rows = new RowKernel(inner);
    this.pages = new PageKernel(inner);
  }

  static async make(): Promise<GuardedKernel> {
    return new GuardedKernel(await Kernel.load(KERNEL_FILE));
  }

  /** Asserts that nothing was written behind the memory that was reserved last. */
  check(): void {
    if (this.#end === null) return;
    const behind = this.kernel.bytes.subarray(this.#end, this.#end + CANARY_BYTES);
    assert.ok(behind.equals(Buffer.alloc(CANARY_BYTES, CANARY)), 'a write beyond the memory');
  }
}

async function subjectsIn(file: string, pageSize: number): Promise<Subject[]> {
  changeDatabase(file, (db) => {
    db.exec(
      `PRAGMA page_size = ${pageSize};
       CREATE TABLE a (id INTEGER PRIMARY KEY, v, w, x);
       CREATE TABLE b (k TEXT NOT NULL PRIMARY KEY, v REAL, w BLOB);
       CREATE TABLE c (v, p BLOB NOT NULL, q INTEGER NOT NULL, r TEXT NOT NULL, PRIMARY KEY (r, p, q));
       CREATE TABLE d (p TEXT, q, PRIMARY KEY (p, q));
       CREATE TABLE e (${Array.from({ length: 20 }, (_, i) => `c${i}`).join(', ')});
       CREATE TABLE f (p BLOB NOT NULL, q BLOB NOT NULL, UNIQUE (p, q, p, p));
       CREATE TABLE g (k BLOB NOT NULL PRIMARY KEY, v TEXT)`,
    );
    const values = [
      null,
      1n,
      -200n,
      70_000n,
      2n ** 40n,
      -(2n ** 60n),
      0.5,
      3,
      'é€😀',
      Buffer.alloc(40),
    ];
    const value = (i: number) => values[i % values.length]!;
    const some = Array.from({ length: pageSize > 10_000 ? 1500 : 150 }, (_, i) => i);
    insert(
      db,
      'a',
      some.map((i) => [BigInt(i * i) - 3000n, value(i), 'v'.repeat(i % 70), value(i >> 2)]),
    );
    insert(
      db,
      'b',
      some.map((i) => [`key ${i}`, i * 0.5, Buffer.alloc(i % 90, i)]),
    );
    insert(
      db,
      'c',
      some.map((i) => [value(i), Buffer.alloc(i % 12), BigInt(i - 70), `r\0${i % 9}`]),
    );
    insert(
      db,
      'd',
      some.map((i) => [i % 20 === 0 ? null : `d${i}`, value(i)]),
    );
    insert(
      db,
      'e',
      some.map((i) => Array.from({ length: 20 }, (_, j) => value(i * j))),
    );
    insert(
      db,
      'f',
      some.map((i) => [Buffer.alloc(i % 90), Buffer.from(`${i}`)]),
    );
    // What is on pages of its own in a cache: values, and some where only the key is long.
    insert(
      db,
      'g',
      some.map((i) =>
        i % 4 === 0
          ? [Buffer.alloc(900 + i, i & 1), 'v'.repeat(i % 300)]
          : [Buffer.from(`${i}`), 'v'.repeat(1960 + i)],
      ),
    );
    // Rows that go on in other pages.
    insert(
      db,
      'a',
      some.slice(0, 4).map((i) => [BigInt(90_000 + i), 'é'.repeat(pageSize + i), null, 1n]),
    );
  });
  const bytes = readFileSync(file);
  const connection = new NativeConnection(`file:${file}`);
  try {
    const definitions = ['a', 'b', 'c', 'd', 'e', 'g'].map((name) => ({ name }));
    const plans = await plansOf(connection, [
      ...definitions,
      { name: 'f', key: ['p', 'q', 'p', 'p'] },
    ]);
    return await connection.snapshot(async (query) => {
      const found: Omit<Subject, 'btree'>[] = [];
      const pages = new Map<number, Buffer>();
      for (const plan of plans) {
        const table = await connection.stored.open(query, plan);
        assert.ok(table !== null && table.btree instanceof TableBtree);
        const leaves = [...(await table.btree.leavesBetween(null, null))];
        found.push({ plan, table, leaves, file: bytes, pageBytes: pageSize, pages });
      }
      const btree = detach(found[0]!);
      return found.map((each) => ({ ...each, btree }));
    });
  } finally {
    await connection.close();
  }
}

/** Makes the tables of a file read pages of a case, and those of their file where the case has none. */
function detach({ table, file, pages, pageBytes }: Omit<Subject, 'btree'>): TableBtree {
  const read = (numbers: readonly number[] | Uint32Array) => {
    const found = Array.from(
      numbers,
      (number) => pages.get(number) ?? pageOf(file, number, pageBytes),
    );
    if (found.some(({ length }) => length < pageBytes)) {
      return Promise.reject(new StoredFormError('there is no such page'));
    }
    return Promise.resolve(Buffer.concat(found));
  };
  Object.defineProperty(table.pages, 'read', { value: read });
  const leavesBetween = () => Promise.resolve([...pages.keys()]);
  return { leavesBetween } as unknown as TableBtree;
}

function pageOf(file: Buffer, number: number, pageBytes: number): Buffer {
  return file.subarray((number - 1) * pageBytes, number * pageBytes);
}

async function tryLeaves(
  guarded: GuardedKernel,
  random: Random,
  subject: Subject,
  valuesDir: string,
): Promise<void> {
  const { plan, leaves, file, pageBytes, pages } = subject;
  pages.clear();
  for (let i = random.int(1, 4); i > 0; i--) {
    const any = random.chance(0.03);
    const number = any ? random.int(1, file.length / pageBytes) : random.pick(leaves);
    pages.set(number, Buffer.from(pageOf(file, number, pageBytes)));
  }
  const mutations = random.chance(0.05) ? 0 : random.int(1, 4);
  for (let i = 0; i < mutations; i++) mutateLeaf(random, random.pick([...pages.values()]));
  const range = randomRange(random);
  const bounds = {
    maxBytes: random.pick([1, 1_000_000]),
    maxRowBytes: random.pick([1_000_000, 1_000_000, 10, 60, 300]),
  };

  const builder = new BatchBuilder(plan, checksum);
  const one = oneByOne(builder);
  const expected = await attempt(subject, range, bounds, one);
  const kernelKeys = randomKeys(random);
  // The file of the case before, so that what is there is overwritten.
  const values = random.chance(0.5) ? new ValueFile(valuesDir) : null;
  const writer = values && values.writer();
  try {
    const records = new LeafRecords(
      guarded.rows,
      plan,
      packBounds(kernelKeys),
      writer,
      checksum,
      undefined,
    );
    const found = await attempt(subject, range, bounds, records);
    assert.deepEqual(found, expected);
    guarded.check();
    assert.ok(guarded.kernel.bytes.length <= MOST_MEMORY, 'memory beyond what the pages need');
    if (found instanceof Error) return;
    const given = Buffer.concat([...pages.values()]);
    assert.ok(guarded.kernel.bytes.includes(given), 'the pages are as they were');
    const { groups } = records.finish();
    guarded.check();
    assert.equal(
      groups.sizes.reduce((sum, size) => sum + size, 0),
      groups.bytes.length,
    );
    const shown = values
      ? values.resolve(groups, writer!.ranges).records.map(showRecord)
      : readGroup(groups.bytes).map(showRecord);
    assert.deepEqual(shown.toSorted(), showBatch(builder).toSorted());
  } finally {
    writer?.close();
  }
}

async function attempt(
  { table, btree }: Subject,
  range: RowidRange,
  bounds: { readonly maxBytes: number; readonly maxRowBytes: number },
  sink: LeafSink,
): Promise<object> {
  try {
    const scanned = await scanRows(table, btree, range, bounds, sink);
    // Numbers are those of rows that came one by one.
    return { ...scanned, refused: scanned.refused.map(({ row, reason }) => ({ row, reason })) };
  } catch (error) {
    if (error instanceof UnknownDefault) return error;
    // Which of several damages is found first is no matter.
    if (error instanceof StoredFormError) return new StoredFormError('refused');
    throw error;
  }
}

const SERIAL_TYPES = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x7f, 0x80, 0xff];

/** Changes what decides how a leaf is read: its header, where its cells are, and the beginnings of these. */
function mutateLeaf(random: Random, page: Buffer): void {
  const most = Math.floor((page.length - 8) / 6);
  const count = Math.min(most, page.readUInt16BE(3));
  const pointer = 8 + 2 * random.int(0, Math.max(0, count - 1));
  const at = page.readUInt16BE(pointer);
  const inCell = Math.min(page.length - 1, at + random.int(0, 8));
  switch (random.int(0, 11)) {
    case 0:
      page.writeUInt16BE(random.pick([0, 1, count + 1, most, most + 1, 0xffff]), 3);
      return;
    case 1:
      page[0] = random.pick([2, 5, 10, 13, 0, 255]);
      return;
    case 2:
      page.writeUInt16BE(
        random.pick([0, 7, 8, page.length - 4, page.length - 1, random.int(0, 65_535)]),
        pointer,
      );
      return;
    case 3: {
      // Many pointers to one cell.
      const all = random.pick([count, most, Math.min(most, 2 * count)]);
      page.writeUInt16BE(all, 3);
      for (let i = random.int(0, all); i < all; i++) page.writeUInt16BE(at, 8 + 2 * i);
      return;
    }
    case 4: {
      // Rowids in another order.
      const other = 8 + 2 * random.int(0, Math.max(0, count - 1));
      page.writeUInt16BE(page.readUInt16BE(other), pointer);
      page.writeUInt16BE(at, other);
      return;
    }
    case 5:
      // A cell at the very end, or one number over many bytes.
      page.fill(0xff, inCell, Math.min(page.length, inCell + random.int(1, 12)));
      return;
    case 6:
      page[inCell] = random.pick(SERIAL_TYPES);
      return;
    case 7:
      page.copy(page, inCell, random.int(0, page.length - 1), Math.min(page.length, at + 30));
      return;
    case 8:
      page[inCell] = (page[inCell]! + random.pick([-1, 1, 2, 0x80])) & 0xff;
      return;
    case 9: {
      const from = random.int(0, page.length - 1);
      page.fill(
        random.pick([0, 0x81, 0xff]),
        from,
        Math.min(page.length, from + random.int(1, 40)),
      );
      return;
    }
    default: {
      const any = random.int(0, page.length - 1);
      page[any] = random.chance(0.5) ? page[any]! ^ (1 << random.int(0, 7)) : random.int(0, 255);
    }
  }
}

function randomRange(random: Random): RowidRange {
  const ends = [null, null, null, -3000, 0, 5000, 100, -(2n ** 63n), 2n ** 63n - 1n];
  return { after: random.pick(ends), upTo: random.pick(ends) };
}

/** Keys of ranges, in order. */
function randomKeys(random: Random): Buffer[] {
  if (random.chance(0.5)) return [];
  const texts = [
    '\x10',
    '\x10\x80',
    '\x10\xc0\x59',
    '\x20',
    '\x20key 1',
    '\x20key 100',
    '\x20key 10000',
    '\x30\0',
  ];
  const keys = texts.filter(() => random.chance(0.4)).map((text) => Buffer.from(text, 'latin1'));
  return keys.toSorted((a, b) => Buffer.compare(a, b));
}

function showRecord({ key, value }: { readonly key: Buffer; readonly value: Buffer }): string {
  return `${key.toString('hex')} ${value.toString('hex')}`;
}

function showBatch(builder: BatchBuilder): string[] {
  const batch = builder.finish();
  const arena = Buffer.from(batch.arena);
  return Array.from(
    recordsOf(batch),
    ({ keyStart, valueStart, end }) =>
      `${arena.toString('hex', keyStart, valueStart)} ${arena.toString('hex', valueStart, end)}`,
  );
}

/** A group of a spool: refused, or sorted and packed as it should be. */
function tryGroup(guarded: GuardedKernel, random: Random): void {
  const group = randomGroup(random);
  const { pages, kernel: inner } = guarded;
  const entries = readEntries(group);
  let isSorted: boolean | null;
  pages.groupMemory(group.length).set(group);
  try {
    isSorted = pages.sort();
  } catch (error) {
    assert.ok(error instanceof RangeError, error as Error);
    isSorted = null;
  }
  guarded.check();
  const from = inner.bytes.subarray(inner.bytes.indexOf(group));
  assert.ok(from.subarray(0, group.length).equals(group), 'the group is as it was');
  if (entries === null) {
    assert.equal(isSorted, null, 'it is refused');
    return;
  }
  const sorted = entries.toSorted((a, b) => Buffer.compare(a.key, b.key));
  const hasTwice = sorted.some(({ key }, i) => i > 0 && key.equals(sorted[i - 1]!.key));
  assert.equal(isSorted, !hasTwice);
  if (hasTwice || sorted.some(({ key }) => key.length === 0)) return;
  if (sorted.some(({ isElsewhere }) => isElsewhere)) {
    assertRunsHold(pages.runs(4096), sorted, 4096);
  } else {
    const whole = sorted.map(({ key, value }) => [key, value] as const);
    assertRunsAlike(pages.runs(4096), whole, 4096);
  }
  guarded.check();
}

function randomGroup(random: Random): Buffer {
  const records: SpooledRecord[] = [];
  const alphabet = random.pick(['\0\x01', 'ab', '\xff\0a', 'abcdefghijklmnop']).split('');
  const prefix = Buffer.alloc(random.pick([0, 0, 3, 8, 20, 1960]), 'p');
  const isLarge = random.chance(0.02);
  const moved = random.pick([0, 0, 0.1, 0.5, 1]);
  for (let i = random.int(0, random.chance(0.2) ? 200 : 20); i > 0; i--) {
    const key = Buffer.concat([
      prefix,
      Buffer.from(
        Array.from({ length: random.int(0, 12) }, () => random.pick(alphabet)).join(''),
        'latin1',
      ),
    ]);
    const isElsewhere = random.chance(moved);
    const value = isElsewhere
      ? elsewhere(random.int(0, 2 ** 30), BigInt(random.int(0, 2 ** 40)), 7n, random.int(1, 3000))
      : Buffer.alloc(random.pick([0, 8, 30, 32, 2000, isLarge ? 40_000 : 60]), i);
    records.push({ key, value, isElsewhere });
  }
  const group = writeGroup(records);
  if (random.chance(0.4)) return group;
  if (random.chance(0.3)) return group.subarray(0, random.int(0, group.length));
  for (let i = random.int(1, 3); i > 0 && group.length > 0; i--) mutateHeader(random, group);
  return group;
}

function mutateHeader(random: Random, group: Buffer): void {
  let at = 0;
  for (let skip = random.int(0, 20); skip > 0; skip--) {
    if (at + HEADER_BYTES > group.length) break;
    const next = at + HEADER_BYTES + group.readUInt32LE(at + 4);
    if (next >= group.length) break;
    at = next;
  }
  const byte = Math.min(group.length - 1, at + random.int(0, 11));
  group[byte] = random.pick([0, 1, 0x07, 0x7f, 0x80, 0xff, group[byte]! ^ 1]);
}

/** What stands for a value that is on pages of its own already. */
const ELSEWHERE_BYTES = 32;

/** Null for bytes that are no records, or whose keys are too long. */
function readEntries(group: Buffer): SpooledRecord[] | null {
  for (let at = 0; at < group.length;) {
    if (at + HEADER_BYTES > group.length) return null;
    const keyBytes = group.readUInt16LE(at) & 0x7fff;
    const isElsewhere = group.readUInt16LE(at) > 0x7fff;
    const bytes = group.readUInt32LE(at + 4);
    at += HEADER_BYTES;
    if (keyBytes > 1978 || keyBytes > bytes || at + bytes > group.length) return null;
    if (isElsewhere && bytes - keyBytes !== ELSEWHERE_BYTES) return null;
    at += bytes;
  }
  return readGroup(group);
}
