import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { StorageSyncError } from '../../../src/errors.js';
import { CURSOR_END, CURSOR_MORE } from '../../../src/source/hrana/cursor-decoder.js';
import { Kernel } from '../../../src/load/kernel/kernel.js';
import { WireKernel } from '../../../src/load/kernel/wire-kernel.js';
import { KERNEL_FILE } from '../../../src/pipeline/worker-urls.js';
import { JSON_CURSOR } from '../../../src/source/hrana/json-cursor.js';
import { PROTOBUF_CURSOR } from '../../../src/source/hrana/protobuf-cursor.js';
import { BatchBuilder } from '../../../src/transform/batch.js';
import { loadChecksum } from '../../../src/transform/checksum.js';
import { fields, frames, type WireField } from '../../hrana/hand-protobuf.js';
import { readEntries } from '../../support/entry-reading.js';
import { HTTP_CODECS } from '../../support/hrana/http-codec.js';
import type { CursorEntry, SqlValue } from '../../support/hrana/protocol.js';
import { planOf } from '../../support/plan.js';
import type { Random } from '../../support/random.js';
import { mutateBytes } from '../mutate.js';
import type { Target } from '../target.js';

const MAX_ENTRY_BYTES = 100_000;
const WIDTH = 4;

/** Rows with a value of every kind, also such as are easily got wrong. */
const ROWS: readonly (readonly SqlValue[])[] = [
  [1n, 'text', Uint8Array.of(0, 255, 16), null],
  [2n ** 63n - 1n, -(2n ** 63n), 1.5, 'x'.repeat(300)],
  ['ein "Zitat" \\ und é€😀\0', -0.5, new Uint8Array(0), ''],
  [-(2n ** 50n), 2n ** 27n, -64n, new Uint8Array(400).fill(7)],
];

/** The bytes of cursors in either encoding, as a page takes them: in pieces, into a batch. */
export async function wireCursor(): Promise<Target> {
  const checksum = await loadChecksum();
  const kernel = new WireKernel(await Kernel.load(KERNEL_FILE));
  /** By the kernel, and one by one: of rows the last value of which is the mark. */
  const readBothWays = (random: Random, bytes: Buffer, isWhole: boolean): void => {
    const all = [...pieces(random, bytes)];
    const read = (taker: WireKernel | null) => {
      const decoder = PROTOBUF_CURSOR.decoder(MAX_ENTRY_BYTES);
      const copies = all.map((piece) => Buffer.from(piece));
      return readEntries(decoder, copies, planOf(WIDTH - 1), checksum, taker);
    };
    const expected = read(null);
    const found = read(kernel);
    assert.deepEqual({ ...found, taken: 0 }, expected);
    if (isWhole) assert.equal(found.end, 'end');
  };
  const ways = [
    { encoding: PROTOBUF_CURSOR, body: bodyOf('protobuf'), read: protobufRows },
    { encoding: JSON_CURSOR, body: bodyOf('json'), read: jsonRows },
  ];
  return {
    run(random) {
      const { encoding, body, read } = random.pick(ways);
      const isWhole = random.chance(0.05);
      const bytes = isWhole ? body : mutateBytes(random, body);
      if (encoding === PROTOBUF_CURSOR && random.chance(0.5)) {
        readBothWays(random, bytes, isWhole);
        return;
      }
      const decoder = encoding.decoder(MAX_ENTRY_BYTES);
      const builder = new BatchBuilder(planOf(WIDTH), checksum);
      builder.start(1);
      const found: SqlValue[][] = [];
      let isEnd = false;
      try {
        for (const piece of pieces(random, bytes)) {
          if (isEnd) break;
          decoder.feed(piece);
          for (;;) {
            const state = decoder.next();
            isEnd = state === CURSOR_END;
            if (state === CURSOR_MORE || isEnd) break;
            const { row } = decoder;
            found.push(row.values(row.fieldCount) as SqlValue[]);
            if (row.fieldCount >= WIDTH) builder.takeWire(0, row);
          }
        }
      } catch (error) {
        assert.ok(error instanceof StorageSyncError, error as Error);
        assert.ok(!isWhole, error);
        return;
      }
      assert.ok(isEnd || !isWhole);
      const expected = read(bytes);
      if (expected === null) return;
      assert.deepEqual(found.map(plain), expected.slice(0, found.length).map(plain));
      if (isEnd) assert.ok(expected.length >= found.length);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function bodyOf(encoding: 'protobuf' | 'json'): Buffer {
  const codec = HTTP_CODECS[encoding];
  const entries: CursorEntry[] = [
    { type: 'step_begin', step: 0, cols: [{ name: 'c', decltype: 'TEXT' }] },
    ...ROWS.map((row): CursorEntry => ({ type: 'row', row })),
    { type: 'step_end', affectedRowCount: 0, lastInsertRowid: null },
    { type: 'replication_index', replicationIndex: 1n },
  ];
  const head = codec.cursorHead({ baton: 'baton', baseUrl: null });
  return Buffer.concat([head, codec.cursorEntries(entries)]);
}

function* pieces(random: Random, bytes: Buffer): Generator<Buffer> {
  const longest = random.pick([1, 7, 100, 10_000]);
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + random.int(1, longest));
    yield Buffer.from(bytes.subarray(at, end));
    at = end;
  }
}

/** Values as they are held against each other. */
function plain(row: readonly SqlValue[]): unknown[] {
  return row.map((value) => {
    if (value instanceof Uint8Array) return `blob ${Buffer.from(value).toString('hex')}`;
    // One zero, and no difference between an INTEGER and a REAL of the same value.
    if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value + 0) : value;
    return typeof value === 'bigint' ? String(value) : value === null ? value : `text ${value}`;
  });
}

/** The rows of a body, read by other code; null where that gives up. */
function protobufRows(bytes: Buffer): SqlValue[][] | null {
  try {
    const rows: SqlValue[][] = [];
    for (const entry of frames(bytes).slice(1)) {
      for (const each of fields(entry)) {
        if (each.number === 4) rows.push(rowOf(each.bytes));
      }
    }
    return rows;
  } catch {
    return null;
  }
}

function rowOf(bytes: Buffer): SqlValue[] {
  return fields(bytes)
    .filter(({ number }) => number === 1)
    .map((each) => valueOf(fields(each.bytes).filter(({ number }) => number >= 1 && number <= 5)));
}

function valueOf(kinds: readonly WireField[]): SqlValue {
  const kind = kinds.at(-1)!;
  switch (kind.number) {
    case 1:
      return null;
    case 2:
      return kind.integer % 2n === 0n ? kind.integer / 2n : -(kind.integer + 1n) / 2n;
    case 3:
      return kind.bytes.readDoubleLE();
    case 4:
      assert.ok(isUtf8(kind.bytes));
      return kind.bytes.toString('utf8');
    default:
      return new Uint8Array(kind.bytes);
  }
}

function jsonRows(bytes: Buffer): SqlValue[][] | null {
  try {
    const rows: SqlValue[][] = [];
    const lines = bytes.toString('utf8').split('\n').filter(Boolean);
    for (const line of lines.slice(1)) {
      const entry = JSON.parse(line) as { type?: unknown; row?: Record<string, string>[] };
      if (entry.type !== 'row') continue;
      rows.push(
        entry.row!.map(({ type, value, base64 }) => {
          if (type === 'integer') return BigInt(value!);
          if (type === 'blob') return new Uint8Array(Buffer.from(base64!, 'base64'));
          return type === 'null' ? null : value!;
        }),
      );
    }
    return rows;
  } catch {
    return null;
  }
}
