import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SourceError } from '../../src/errors.js';
import {
  CURSOR_END,
  CURSOR_MORE,
  type CursorDecoder,
  type CursorEncoding,
} from '../../src/source/hrana/cursor-decoder.js';
import { JSON_CURSOR } from '../../src/source/hrana/json-cursor.js';
import { PROTOBUF_CURSOR } from '../../src/source/hrana/protobuf-cursor.js';
import { BatchBuilder, type Batch } from '../../src/transform/batch.js';
import { loadChecksum } from '../../src/transform/checksum.js';
import type { Cell, SqlValue } from '../../src/values.js';
import { double, int, message, sint } from '../hrana/hand-protobuf.js';
import { canonical, sqlValue } from '../support/arbitraries.js';
import fc from '../support/fast-check.js';
import { HTTP_CODECS } from '../support/hrana/http-codec.js';
import type { CursorEntry } from '../support/hrana/protocol.js';
import { planOf } from '../support/plan.js';

const checksum = await loadChecksum();
const MAX_ENTRY_BYTES = 1_000_000;
const ENCODINGS = [
  ['protobuf', PROTOBUF_CURSOR],
  ['json', JSON_CURSOR],
] as const;

/** The body of a cursor that gives these rows, as the test's server writes it. */
function bodyOf(encoding: 'protobuf' | 'json', rows: readonly (readonly SqlValue[])[]): Buffer {
  const entries: CursorEntry[] = [
    { type: 'step_begin', step: 0, cols: [{ name: 'é', decltype: null }] },
    ...rows.map((row): CursorEntry => ({ type: 'row', row })),
    { type: 'step_end', affectedRowCount: 0, lastInsertRowid: null },
    { type: 'replication_index', replicationIndex: 7n },
  ];
  const codec = HTTP_CODECS[encoding];
  const head = codec.cursorHead({ baton: 'b', baseUrl: null });
  return Buffer.concat([head, codec.cursorEntries(entries)]);
}

/** What a decoder finds in pieces of a body. Throws where they end before the rows do. */
function rowsIn(decoder: CursorDecoder, pieces: readonly Buffer[]): Cell[][] {
  const rows: Cell[][] = [];
  for (const piece of pieces) {
    decoder.feed(Buffer.from(piece));
    for (;;) {
      const state = decoder.next();
      if (state === CURSOR_END) return rows;
      if (state === CURSOR_MORE) break;
      rows.push(decoder.row.values(decoder.row.fieldCount));
    }
  }
  throw new RangeError('the body ends in the middle');
}

function decode(encoding: CursorEncoding, ...pieces: readonly Buffer[]): Cell[][] {
  return rowsIn(encoding.decoder(MAX_ENTRY_BYTES), pieces);
}

/** The body in pieces that end where told. */
function split(body: Buffer, ends: readonly number[]): Buffer[] {
  return [0, ...ends].map((from, i) => Buffer.from(body.subarray(from, ends[i] ?? body.length)));
}

/** JSON has neither infinities nor a zero with a sign. */
function isFinite(value: SqlValue): boolean {
  return typeof value !== 'number' || Number.isFinite(value);
}

const ROWS: readonly (readonly SqlValue[])[] = [
  [1n, 'text', Uint8Array.of(0, 255, 16)],
  [2n ** 63n - 1n, -(2n ** 63n), null],
  [-1n, 1.5, ''],
  [300n, 'a "b" \\ \n\0 é€😀', new Uint8Array(0)],
  [-(2n ** 40n), 'x'.repeat(400), new Uint8Array(20_000)],
  [5n, -0.5, 5e-324],
];

for (const [name, encoding] of ENCODINGS) {
  void describe(`a cursor in ${name}`, () => {
    void it('gives the same rows wherever its bytes are split', () => {
      const body = bodyOf(name, ROWS);
      const whole = decode(encoding, body);
      assert.deepEqual(
        whole,
        ROWS.map((row) => row.map(canonical)),
      );
      const short = bodyOf(name, ROWS.slice(0, 4));
      const expected = whole.slice(0, 4);
      for (let at = 1; at < short.length; at++) {
        assert.deepEqual(decode(encoding, ...split(short, [at])), expected, `split at ${at}`);
      }
      const each = Array.from({ length: short.length - 1 }, (_, i) => i + 1);
      assert.deepEqual(decode(encoding, ...split(short, each)), expected);
      const some = Array.from({ length: Math.floor(body.length / 97) }, (_, i) => (i + 1) * 97);
      assert.deepEqual(decode(encoding, ...split(body, some)), whole);
    });

    void it('is not taken for whole wherever it is cut', () => {
      const rows = ROWS.slice(0, 3);
      const body = bodyOf(name, rows);
      const codec = HTTP_CODECS[name];
      const index: CursorEntry = { type: 'replication_index', replicationIndex: 7n };
      const end = body.length - codec.cursorEntries([index]).length;
      for (let at = 0; at < end; at++) {
        assert.throws(() => decode(encoding, body.subarray(0, at)), RangeError, `cut at ${at}`);
      }
      assert.equal(decode(encoding, body.subarray(0, end)).length, 3);
    });

    void it('has the same records as the values of its rows', () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 1, max: 20 }),
          fc.array(sqlValue, { minLength: 20, maxLength: 20 }),
          fc.integer({ min: 1, max: 3 }),
          (width, values, keys) => {
            const row = values.slice(0, width);
            if (name === 'json' && !row.every(isFinite)) return;
            const decoder = encoding.decoder(10 * MAX_ENTRY_BYTES);
            decoder.feed(bodyOf(name, [row]));
            decoder.next();
            const plan = planOf(width, Math.min(width, keys));
            const wired = new BatchBuilder(plan, checksum);
            const valued = new BatchBuilder(plan, checksum);
            wired.start(1);
            valued.start(1);
            assert.equal(wired.takeWire(0, decoder.row), valued.take(0, row));
            assert.deepEqual(recordsIn(wired.finish()), recordsIn(valued.finish()));
          },
        ),
        { numRuns: 400 },
      );
    });

    void it('ends with the error that the server tells, also between rows', () => {
      const codec = HTTP_CODECS[name];
      const head = Buffer.from(codec.cursorHead({ baton: null, baseUrl: null }));
      const row: CursorEntry = { type: 'row', row: [1n] };
      const error = { message: 'no such column: x', code: 'SQLITE_ERROR' };
      for (const entry of [
        { type: 'step_error', step: 0, error },
        { type: 'error', error },
      ] as const) {
        const body = Buffer.concat([head, codec.cursorEntries([row, entry, row])]);
        assert.throws(() => decode(encoding, body), {
          code: 'SOURCE_SQL',
          message: /no such column/,
        });
      }
      const busy = { message: 'busy', code: 'SQLITE_BUSY' };
      const body = Buffer.concat([head, codec.cursorEntries([{ type: 'error', error: busy }])]);
      assert.throws(() => decode(encoding, body), { code: 'SOURCE_UNAVAILABLE' });
    });

    void it('is refused once an entry is longer than it may be, before it has come', () => {
      const body = bodyOf(name, [['x'.repeat(50_000)]]);
      const decoder = encoding.decoder(1000);
      assert.throws(() => rowsIn(decoder, [body.subarray(0, 20_000)]), {
        code: 'SOURCE_RESPONSE_TOO_LARGE',
      });
    });
  });
}

function recordsIn({ arena, bytes, count, ascending }: Batch): unknown {
  return { bytes: Buffer.from(arena).subarray(0, bytes).toString('hex'), count, ascending };
}

const frame = (...parts: readonly Buffer[]): Buffer => message(0, ...parts).subarray(1);
const HEAD = frame();
const END = frame(message(2));
const text = (value: string): Buffer => message(1, message(4, value));

function protobuf(...frames: readonly Buffer[]): Cell[][] {
  return decode(PROTOBUF_CURSOR, Buffer.concat([HEAD, ...frames, END]));
}

const row = (...values: readonly Buffer[]): Buffer => frame(message(4, ...values));

function isMalformed(error: unknown): boolean {
  return error instanceof SourceError && error.code === 'SOURCE_PROTOCOL';
}

void describe('a row in protobuf', () => {
  void it('may have fields that are not known, anywhere', () => {
    const unknown = [int(20, 2n ** 64n - 1n), double(21, 1), message(22, 'abc')];
    const fixed32 = Buffer.from([(12 << 3) | 5, 1, 2, 3, 4]);
    const noise = Buffer.concat([...unknown, fixed32]);
    const values = [
      message(1, noise, sint(2, -5n)),
      noise,
      message(1, message(4, 'é'), noise),
      text('plain'),
      message(1, noise, message(1), noise),
    ];
    assert.deepEqual(protobuf(frame(noise), frame(noise, message(4, ...values), noise)), [
      [-5, 'é', 'plain', null],
    ]);
  });

  void it('may be written in more bytes than it needs, and by a value that is written twice', () => {
    const long = Buffer.from([0x0a, 0x84, 0x80, 0x00, 0x22, 0x82, 0x00, 0x61]);
    assert.throws(() => protobuf(row(long)), isMalformed);
    const fitting = Buffer.from([0x0a, 0x85, 0x80, 0x00, 0x22, 0x82, 0x00, 0x61, 0x62]);
    assert.deepEqual(protobuf(row(fitting)), [['ab']]);
    const overlong = message(1, Buffer.from([0x10, 0x86, 0x80, 0x00]));
    assert.deepEqual(protobuf(row(overlong)), [[3]]);
    assert.deepEqual(protobuf(row(message(1, sint(2, 1n), message(4, 'last')))), [['last']]);
  });

  void it('may have many values, and none', () => {
    const many = Array.from({ length: 300 }, (_, i) => message(1, sint(2, BigInt(i) - 150n)));
    assert.deepEqual(protobuf(row(...many), row()), [
      Array.from({ length: 300 }, (_, i) => i - 150),
      [],
    ]);
  });

  const integers = [0n, -1n, 63n, -64n, 64n, 2n ** 27n, 2n ** 28n, 2n ** 48n, -(2n ** 48n)];
  for (const integer of [...integers, 2n ** 53n, 2n ** 53n - 1n, 2n ** 63n - 1n, -(2n ** 63n)]) {
    void it(`may hold the INTEGER ${integer}`, () => {
      assert.deepEqual(protobuf(row(message(1, sint(2, integer)), text('behind'))), [
        [canonical(integer), 'behind'],
      ]);
    });
  }

  const wrong: Readonly<Record<string, Buffer>> = {
    'a value without a kind': message(1),
    'a value of a kind that is not known': message(1, message(9, 'x')),
    'a value that is no message': int(1, 5),
    'an INTEGER that is bytes': message(1, message(2, 'x')),
    'a REAL that is a varint': message(1, int(3, 1)),
    'a REAL that is no number': message(1, double(3, NaN)),
    'a TEXT that is a varint': message(1, int(4, 1)),
    'a NULL that is a varint': message(1, int(1, 1)),
    'a TEXT longer than its value': message(1, Buffer.from([0x22, 5, 0x61])),
    'a value longer than its row': Buffer.from([0x0a, 9, 0x22, 1, 0x61]),
    'a REAL that is cut': message(1, Buffer.from([0x19, 1, 2])),
    'an INTEGER that is cut': message(1, Buffer.from([0x10, 0xff])),
    'an INTEGER that does not end': message(
      1,
      Buffer.from([0x10, ...Array<number>(11).fill(0xff)]),
    ),
    'an INTEGER of more than 64 bits': message(
      1,
      Buffer.from([0x10, ...Array<number>(9).fill(0xff), 0x7f]),
    ),
    'a length beyond all bounds': message(
      1,
      Buffer.from([0x22, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
    ),
    'a field without a number': Buffer.from([0x02, 0]),
    'a group': Buffer.from([0x0b, 0x0c]),
    'a wire type that there is not': Buffer.from([0x0f]),
  };
  for (const [what, bytes] of Object.entries(wrong)) {
    void it(`is refused with ${what}`, () => {
      assert.throws(() => protobuf(row(text('before'), bytes, text('behind'))), isMalformed);
      assert.throws(() => protobuf(row(bytes)), isMalformed);
    });
  }

  void it('is refused with TEXT that is not valid UTF-8, short or long, as key or not', () => {
    for (const length of [1, 400]) {
      const invalid = message(1, message(4, Buffer.alloc(length, 0xff)));
      for (const values of [
        [invalid, text('v')],
        [text('k'), invalid],
      ]) {
        const decoder = PROTOBUF_CURSOR.decoder(MAX_ENTRY_BYTES);
        decoder.feed(Buffer.concat([HEAD, row(...values)]));
        decoder.next();
        const builder = new BatchBuilder(planOf(2), checksum);
        builder.start(1);
        assert.throws(() => builder.takeWire(0, decoder.row), isMalformed);
      }
    }
  });

  void it('is refused by a length that no entry has, before anything of it has come', () => {
    const begins = (...length: number[]) => Buffer.concat([HEAD, Buffer.from(length)]);
    assert.throws(() => decode(PROTOBUF_CURSOR, begins(0xff, 0xff, 0xff, 0x7f)), {
      code: 'SOURCE_RESPONSE_TOO_LARGE',
    });
    const endless = begins(0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
    assert.throws(() => decode(PROTOBUF_CURSOR, endless), isMalformed);
  });

  void it('tells an error of a step without its reason', () => {
    assert.throws(() => protobuf(frame(message(3, int(1, 0)))), { code: 'SOURCE_SQL' });
    assert.throws(() => protobuf(frame(int(5, 1))), isMalformed);
  });
});

void describe('a row in JSON', () => {
  const head = '{"baton":null,"base_url":null}\n';
  const end = '{"type":"step_end","affected_row_count":0,"last_insert_rowid":null}\n';
  const json = (...lines: readonly string[]) =>
    decode(JSON_CURSOR, Buffer.from(head + lines.map((line) => `${line}\n`).join('') + end));
  const value = (cell: string) => `{"type":"row","row":[${cell}]}`;

  void it('may have its fields in any order, others, and blanks', () => {
    const cell = '{ "value" : "\\u00e9\\n" , "more":[1], "type":"text"}';
    assert.deepEqual(json('', '{"type":"new"}', ` {"row": [ ${cell} ], "type":"row", "x":1} \r`), [
      ['é\n'],
    ]);
  });

  void it('undoes every escape, and none that is cut or half of a pair', () => {
    const all = '\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\u00e9\\ud83d\\ude00';
    const cells = ['{"type":"text","value":"' + all + '"}', '{"type":"text","value":"é€😀"}'];
    assert.deepEqual(json(value(cells.join(','))), [['"\\/\b\f\n\r\t\0é😀', 'é€😀']]);
    for (const text of ['\\x', '\\u12', '\\ud800', '\\', '\t']) {
      assert.throws(() => json(value(`{"type":"text","value":"${text}"}`)), isMalformed, text);
    }
  });

  const wrong = {
    'a REAL with a sign before it': value('{"type":"float","value":+1}'),
    'a REAL that is too large': value('{"type":"float","value":1e999}'),
    'an INTEGER without digits': value('{"type":"integer","value":"-"}'),
    'an INTEGER of many digits': value('{"type":"integer","value":"12345678901234567890"}'),
    'something behind a row': '{"type":"row","row":[]},',
    'two values without a comma': value('{"type":"null"}{"type":"null"}'),
    'a comma too many': value('{"type":"null"},'),
    'a row that is no list': '{"type":"row","row":{}}',
    'a row that is missing': '{"type":"row"}',
    'a value that is none': value('7'),
    'a value of a kind that is not known': value('{"type":"date","value":"x"}'),
    'an INTEGER that is a number': value('{"type":"integer","value":7}'),
    'an INTEGER that is none': value('{"type":"integer","value":"0x10"}'),
    'an INTEGER of more than 64 bits': value('{"type":"integer","value":"9223372036854775808"}'),
    'a REAL that is none': value('{"type":"float","value":null}'),
    'a TEXT that is none': value('{"type":"text","value":7}'),
    'a BLOB that is not base64': value('{"type":"blob","base64":"####"}'),
    'JSON that is cut': '{"type":"row","row":[',
    'an entry that is no object': '7',
  };
  for (const [what, line] of Object.entries(wrong)) {
    void it(`is refused with ${what}`, () => assert.throws(() => json(line), isMalformed));
  }

  void it('is refused when it is not UTF-8', () => {
    const line = Buffer.from(`${head}${value('{"type":"text","value":"é"}')}\n`);
    line[line.indexOf('é')] = 0xff;
    assert.throws(() => decode(JSON_CURSOR, line), isMalformed);
  });
});
