import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Kernel } from '../../src/load/kernel/kernel.js';
import { WireKernel } from '../../src/load/kernel/wire-kernel.js';
import { KERNEL_FILE } from '../../src/pipeline/worker-urls.js';
import { PROTOBUF_CURSOR } from '../../src/source/hrana/protobuf-cursor.js';
import type { TablePlan } from '../../src/source/plan.js';
import { loadChecksum } from '../../src/transform/checksum.js';
import type { SqlValue } from '../../src/values.js';
import { sqlValue } from '../support/arbitraries.js';
import { readEntries, type EntryLimits, type EntryReading } from '../support/entry-reading.js';
import fc from '../support/fast-check.js';
import { HTTP_CODECS } from '../support/hrana/http-codec.js';
import type { CursorEntry } from '../support/hrana/protocol.js';
import { planOf } from '../support/plan.js';

const checksum = await loadChecksum();
/** One for all tables, as in a thread: nothing of one must get into another. */
const kernel = new WireKernel(await Kernel.load(KERNEL_FILE));
const codec = HTTP_CODECS.protobuf;
const MAX_ENTRY_BYTES = 1_000_000;
/** Before it, the head of the stream is read. */
const FIRST = 1;

function bodyOf(rows: readonly (readonly SqlValue[])[]): Buffer {
  const entries: CursorEntry[] = [
    { type: 'step_begin', step: 0, cols: [{ name: 'c', decltype: 'TEXT' }] },
    ...rows.map((row): CursorEntry => ({ type: 'row', row })),
    { type: 'step_end', affectedRowCount: 0, lastInsertRowid: null },
  ];
  const head = codec.cursorHead({ baton: 'baton', baseUrl: null });
  return Buffer.concat([head, codec.cursorEntries(entries)]);
}

function pieces(body: Buffer, size: number): Buffer[] {
  const count = Math.ceil(body.length / size);
  return Array.from({ length: count }, (_, i) =>
    Buffer.from(body.subarray(size * i, size * (i + 1))),
  );
}

/** Reads a body in both ways, and asserts that they give the same. */
function readBothWays(
  body: Buffer,
  plan: TablePlan,
  size = body.length,
  limits: EntryLimits = {},
): EntryReading {
  const read = (taker: WireKernel | null) => {
    const decoder = PROTOBUF_CURSOR.decoder(MAX_ENTRY_BYTES);
    return readEntries(decoder, pieces(body, size), plan, checksum, taker, limits);
  };
  const expected = read(null);
  const found = read(kernel);
  assert.deepEqual({ ...found, taken: 0 }, expected);
  return found;
}

/** Rows as an answer has them: with what marks those that are to be read in another way. */
const whole = (rows: readonly (readonly SqlValue[])[]) => rows.map((row) => [...row, null]);

const BOUNDARIES = [6n, 7n, 8n, 13n, 14n, 15n, 16n, 31n, 32n, 48n, 49n, 53n, 62n].flatMap((bits) =>
  [-1n, 0n, 1n].flatMap((more) => [2n ** bits + more, -(2n ** bits) + more]),
);

void describe('rows of a cursor in protobuf', () => {
  void it('are taken all together, whatever their values are', () => {
    const integers = [...BOUNDARIES, 0n, -1n, 1n, 2n ** 63n - 1n, -(2n ** 63n)];
    const reals = [0, -0, 1.5, -1e300, 5e-324, Infinity, -Infinity, 3, 2 ** 53, -(2 ** 60)];
    const sizes = [0, 1, 31, 32, 127, 128, 129, 255, 256, 16_383, 16_384, 65_535, 65_536];
    const values: SqlValue[] = [
      null,
      ...integers,
      ...reals,
      ...sizes.map((size) => 'é'.repeat(size)),
      ...sizes.map((size) => new Uint8Array(size).fill(0xee)),
    ];
    const rows = values.map((value, i) => [`key ${i}`, value]);
    const { taken } = readBothWays(bodyOf(whole(rows)), planOf(2));
    assert.equal(taken, rows.length - FIRST);
  });

  void it('are taken with keys of all kinds, alone and together', () => {
    const keys: SqlValue[] = ['a\0b', 'é', '', new Uint8Array([0, 1, 0]), 0n, -5n, 2n ** 53n - 1n];
    const rows = keys.flatMap((a) => keys.map((b) => [a, b, 'value']));
    for (const width of [1, 2, 3]) {
      const { taken } = readBothWays(bodyOf(whole(rows)), planOf(3, width));
      assert.equal(taken, rows.length - FIRST);
    }
  });

  void it('are taken of up to as many columns as a table may have', () => {
    for (const width of [14, 15, 16, 17, 64, 300, 2000]) {
      const rows = Array.from({ length: 20 }, (_, row) =>
        Array.from({ length: width }, (_, i) => BigInt(i * row)),
      );
      const { taken } = readBothWays(bodyOf(whole(rows)), planOf(width));
      assert.equal(taken, rows.length - FIRST);
    }
  });

  const odd: Readonly<Record<string, readonly SqlValue[]>> = {
    'a NULL in its key': [null, 1n, null],
    'a REAL in its key': [1.5, 1n, null],
    'an INTEGER in its key that no double holds': [2n ** 53n + 1n, 1n, null],
    'a key that is too long': ['k'.repeat(1978), 1n, null],
    'a mark': ['marked', null, 123n],
    'too few values': ['few', 1n],
    'too many values': ['many', 1n, 2n, null],
  };
  for (const [name, row] of Object.entries(odd)) {
    void it(`leave one to others that has ${name}`, () => {
      const rows = (from: number) =>
        whole(Array.from({ length: 20 }, (_, i) => [`${from + i}`, BigInt(i)]));
      const { taken, rows: all } = readBothWays(bodyOf([...rows(0), row, ...rows(20)]), planOf(2));
      assert.deepEqual([taken, all.length], [40 - FIRST, 41]);
    });
  }

  void it('are taken up to a limit of rows, of bytes, and of the size of one', () => {
    const rows = whole(Array.from({ length: 100 }, (_, i) => [`${i}`, 'x'.repeat(i)]));
    const body = bodyOf(rows);
    let taken = 0;
    for (const limits of [
      { maxRows: 37 },
      { maxBytes: 1 },
      { maxBytes: 500 },
      { maxRowBytes: 40 },
      { maxRows: 99, maxBytes: 3000, maxRowBytes: 90 },
    ]) {
      for (const size of [body.length, 1000, 7]) {
        taken += readBothWays(body, planOf(2), size, limits).taken;
      }
    }
    assert.ok(taken > 300, 'rows were taken');
  });

  void it('are taken from the first byte that makes them whole', () => {
    const rows = whole(Array.from({ length: 30 }, (_, i) => [`${i}`, 'x'.repeat(10 * i)]));
    const body = bodyOf(rows);
    for (const size of [1, 2, 3, 50, 300, 1000]) {
      const { taken } = readBothWays(body, planOf(2), size);
      assert.ok(taken >= rows.length - FIRST);
    }
  });

  void it('are taken when they are many times what the memory held before', () => {
    const fresh = () =>
      whole([
        ['a', 'x'.repeat(900_000)],
        ...Array.from({ length: 9 }, (_, i) => [`${i}`, 'y'.repeat(150_000)]),
      ]);
    const { rows } = readBothWays(bodyOf(fresh()), planOf(2));
    assert.equal(rows.length, 10);
  });

  void it('are the same for any rows, in any pieces', () => {
    const cell = fc.oneof({ arbitrary: sqlValue, weight: 3 }, fc.constant<SqlValue>('key'));
    const table = fc.integer({ min: 1, max: 20 }).chain((width) =>
      fc.record({
        width: fc.constant(width),
        keys: fc.integer({ min: 1, max: Math.min(3, width) }),
        rows: fc.array(fc.array(cell, { minLength: width, maxLength: width }), { maxLength: 30 }),
        size: fc.integer({ min: 1, max: 5000 }),
      }),
    );
    let taken = 0;
    fc.assert(
      fc.property(table, ({ width, keys, rows, size }) => {
        taken += readBothWays(bodyOf(whole(rows)), planOf(width, keys), size).taken;
      }),
      { numRuns: 200 },
    );
    assert.ok(taken > 200, 'rows were taken');
  });

  void it('fail alike where they are damaged', () => {
    const rows = whole([
      [1n, 'text', new Uint8Array([0, 255, 16])],
      [2n ** 63n - 1n, -(2n ** 63n), 1.5],
      [7n, 'x'.repeat(300), null],
      [-(2n ** 40n), 2n ** 27n, -64n],
    ]);
    const body = bodyOf(rows);
    const change = fc.tuple(fc.nat(body.length - 1), fc.nat(255));
    fc.assert(
      fc.property(
        fc.array(change, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: body.length }),
        (changes, size) => {
          const damaged = Buffer.from(body);
          for (const [at, byte] of changes) damaged[at] = byte;
          readBothWays(damaged, planOf(3), size);
        },
      ),
      { numRuns: 3000 },
    );
  });
});
