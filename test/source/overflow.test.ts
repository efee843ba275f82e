import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DatabasePages } from '../../src/source/stored/database-pages.js';
import { gather, type ScatteredRecord } from '../../src/source/stored/overflow.js';
import { StoredFormError } from '../../src/source/stored/stored-form-error.js';
import fc from '../support/fast-check.js';

const PAGE = 64;
const USABLE = 60;
const CONTENT = USABLE - 4;
const REQUEST_PAGES = 8;

/** Pages of a file that is nowhere, and how it was asked for them. */
class FakePages {
  readonly pageBytes = PAGE;
  readonly usableBytes = USABLE;
  readonly requestPages = REQUEST_PAGES;
  readonly pages = new Map<number, Buffer>();
  asked = 0;

  read(numbers: readonly number[] | Uint32Array): Promise<Buffer> {
    assert.ok(numbers.length > 0 && numbers.length <= REQUEST_PAGES, 'a request of a good size');
    this.asked += numbers.length;
    const found = Array.from(numbers, (number) => this.pages.get(number));
    if (found.includes(undefined)) return Promise.reject(new StoredFormError('no such page'));
    return Promise.resolve(Buffer.concat(found as Buffer[]));
  }

  async gather(records: readonly ScatteredRecord[]): Promise<Buffer[]> {
    return await gather(this as unknown as DatabasePages, records);
  }

  /** Puts a record into these pages, in this order. */
  store(record: Buffer, localBytes: number, numbers: readonly number[]): ScatteredRecord {
    let at = localBytes;
    for (const [i, number] of numbers.entries()) {
      // What is behind the content is anything.
      const page = Buffer.alloc(PAGE, 0xdd);
      page.writeUInt32BE(numbers[i + 1] ?? 0);
      record.copy(page, 4, at, Math.min(record.length, at + CONTENT));
      this.pages.set(number, page);
      at += CONTENT;
    }
    const local = record.subarray(0, localBytes);
    return { local, payloadBytes: record.length, overflowPage: numbers[0] ?? 0 };
  }
}

function content(bytes: number, seed: number): Buffer {
  return Buffer.from(Array.from({ length: bytes }, (_, i) => (i * 31 + seed * 17) & 0xff));
}

const size = fc.oneof(
  fc.nat(5 * CONTENT),
  fc.nat(30).map((pages) => pages * CONTENT),
  fc.nat(2000),
);

void describe('records that go on in other pages', () => {
  void it('are whole wherever their pages are, and few others are read', async () => {
    const record = fc.record({ rest: size, localBytes: fc.nat(40) });
    await fc.assert(
      fc.asyncProperty(
        fc.array(record, { maxLength: 12 }),
        fc.nat(3),
        fc.infiniteStream(fc.nat(999)),
        async (records, disorder, order) => {
          const file = new FakePages();
          const counts = records.map(({ rest }) => Math.ceil(rest / CONTENT));
          const all = counts.reduce((sum, count) => sum + count, 0);
          let numbers = Array.from({ length: all }, (_, i) => i + 2);
          // Of all in order to none: as many parts changed places.
          for (let i = 0; i < 3 ** disorder - 1; i++) {
            const cut = order.next().value! % (all + 1);
            const half = numbers.slice(cut);
            numbers = [...half.slice(0, 5), ...numbers.slice(0, cut), ...half.slice(5)];
          }
          if (disorder === 3) numbers.reverse();
          const given = records.map(({ rest, localBytes }, i) => content(localBytes + rest, i));
          let at = 0;
          const scattered = given.map((bytes, i) => {
            const own = numbers.slice(at, (at += counts[i]!));
            return file.store(bytes, records[i]!.localBytes, own);
          });
          const found = await file.gather(scattered);
          assert.deepEqual(found, given);
          assert.ok(file.asked <= 8 * all + REQUEST_PAGES, `${file.asked} for ${all}`);
        },
      ),
    );
  });

  void it('are refused where one of many chains ends too early, or goes where no page is', async () => {
    for (const next of [0, 5000, 0xffff_ffff]) {
      for (const bent of [0, 3, 9, 18]) {
        const file = new FakePages();
        const records = [0, 1, 2].map((i) => {
          const numbers = Array.from({ length: 20 }, (_, j) => 2 + 20 * i + j);
          return file.store(content(20 * CONTENT, i), 0, numbers);
        });
        file.pages.get(22 + bent)!.writeUInt32BE(next);
        await assert.rejects(file.gather(records), StoredFormError, `${next} at ${bent}`);
      }
    }
  });

  void it('end where they have their bytes, though their chain is a circle or goes on', async () => {
    for (const next of [2, 10, 12, 13, 40]) {
      const file = new FakePages();
      const numbers = Array.from({ length: 12 }, (_, i) => 2 + i);
      const given = content(12 * CONTENT - 5, 1);
      const record = file.store(given, 0, numbers);
      const other = file.store(content(900, 2), 900 - 3 * CONTENT, [40, 41, 42]);
      // The last page of the chain leads somewhere: nobody goes there.
      file.pages.get(13)!.writeUInt32BE(next);
      assert.deepEqual(await file.gather([record, other]), [given, content(900, 2)]);
      // One in the middle leads back: what is read is wrong, and no more than it should be.
      file.asked = 0;
      file.pages.get(7)!.writeUInt32BE(3);
      const [round] = await file.gather([record]);
      assert.equal(round!.length, given.length);
      assert.ok(file.asked < 8 * numbers.length);
    }
  });

  void it('may be none, or have nothing in other pages', async () => {
    const file = new FakePages();
    assert.deepEqual(await file.gather([]), []);
    const given = content(30, 1);
    assert.deepEqual(await file.gather([file.store(given, 30, [])]), [given]);
    assert.equal(file.asked, 0);
  });
});
