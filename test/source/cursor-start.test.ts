import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { cursorStart } from '../../src/source/cursor-start.js';
import { InvalidText, type Cell } from '../../src/values.js';
import fc from '../support/fast-check.js';

const SEED = 20_261_122;
const NOW = Date.UTC(2030, 0, 1);

function start(last: Exclude<Cell, null>, overlap: number | null, overlapIsTime = false): Cell {
  const { from, problem } = cursorStart(last, { overlap, overlapIsTime }, NOW);
  assert.equal(problem, null);
  return from;
}

function problem(last: Exclude<Cell, null>, overlap: number | null, overlapIsTime = false): string {
  const found = cursorStart(last, { overlap, overlapIsTime }, NOW);
  assert.equal(found.from, null);
  return found.problem!;
}

/** The shapes of a time as TEXT, made of its ISO form with milliseconds. */
const FORMATS: Readonly<Record<string, (iso: string) => string>> = {
  date: (iso) => iso.slice(0, 10),
  minutes: (iso) => iso.slice(0, 16),
  'seconds with a space': (iso) => iso.slice(0, 19).replace('T', ' '),
  'ISO with Z': (iso) => iso,
  'no Z': (iso) => iso.slice(0, 23),
  'six digits': (iso) => `${iso.slice(0, 23)}123`,
  'an offset': (iso) => `${iso.slice(0, 19)}+02:00`,
  // Python's isoformat leaves zeros out.
  'fractions that come and go': (iso) => iso.slice(0, 23).replace(/\.000$/, ''),
  'fractions that come and go, with Z': (iso) => iso.replace(/\.000Z$/, 'Z'),
};

void describe('where a round over a cursor begins', () => {
  for (const [format, write] of Object.entries(FORMATS)) {
    void it(`leaves out no text of a time within the overlap: ${format} (seed ${SEED})`, () => {
      fc.assert(
        fc.property(
          fc.integer({ min: 0, max: NOW }),
          fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 10_000_000 })),
          fc.double({ min: 0, max: 1, noNaN: true }),
          fc.boolean(),
          (ms, overlap, share, whole) => {
            const at = (time: number) =>
              new Date(whole ? time - (time % 1000) : time).toISOString();
            const late = ms - Math.floor(overlap * share);
            if (late < 0) return;
            const from = start(write(at(ms)), overlap) as string;
            assert.ok(Buffer.compare(Buffer.from(from), Buffer.from(write(at(late)))) <= 0);
            const before = ms - overlap - 2 * 86_400_000;
            if (before > 0) assert.ok(from > write(at(before)), 'no more than two days too early');
          },
        ),
        { seed: SEED, numRuns: 500 },
      );
    });
  }

  void it('crosses years and leap days', () => {
    assert.equal(start('2024-03-01 00:00:30', 60_000), '2024-02-29 23:59:30');
    assert.equal(start('2000-01-01T00:00:00.000Z', 1), '1999-12-31T23:59:59');
    assert.equal(start('2024-01-01', 60_000), '2023-12-31');
    assert.equal(start('0000-01-01 00:00', 60_000), '0000-01-01 00:00');
  });

  void it('subtracts from numbers exactly', () => {
    assert.equal(start(1000, 7), 993n);
    assert.equal(start(2n ** 63n - 1n, 1), 2n ** 63n - 2n);
    assert.equal(start(-(2n ** 63n) + 5n, 100), -(2n ** 63n));
    assert.equal(start(10, 0.5), 9n);
    assert.equal(start(10.5, 2), 8.5);
    assert.equal(start(-Infinity, 2), -Infinity);
  });

  void it('takes a minute for times and 100 for other numbers where no overlap is given', () => {
    assert.equal(start('2024-01-01 00:01:00', null), '2024-01-01 00:00:00');
    assert.equal(start(1_700_000_000, null), 1_699_999_940n);
    assert.equal(start(1_700_000_000_000, null), 1_699_999_940_000n);
    assert.equal(start(1_700_000_000_000_000, null), 1_699_999_940_000_000n);
    assert.equal(start(5000, null), 4900n);
    assert.equal(start(1_700_000_000.25, null), 1_699_999_940.25);
  });

  void it('begins at the last value itself without an overlap, whatever it is', () => {
    const values = ['01HZX', 'x', new Uint8Array([1, 2]), new InvalidText(new Uint8Array([0xff]))];
    for (const value of values) assert.equal(start(value, 0), value);
  });

  void it('says what it cannot begin from', () => {
    assert.match(problem('N/A', null), /"N\/A", is no time/);
    for (const text of [
      '2024-13-01',
      '2024-01-01 25:00',
      '2024-01-01T10:61:00Z',
      '12:00',
      ' 2024-01-01',
    ]) {
      assert.match(problem(text, 5), /is no time/);
    }
    assert.match(problem(new Uint8Array([1]), 5), /a BLOB, is no time/);
    assert.match(problem(new InvalidText(new Uint8Array([0xff])), 5), /not valid/);
    assert.match(problem(5, 60_000, true), /the number 5, and the overlap a time/);
    assert.match(problem(Infinity, 0), /infinite/);
    assert.match(problem('9999-12-31', 5), /lies in the future/);
  });
});
