import type { DatabasePages } from './database-pages.js';
import { StoredFormError } from './stored-form-error.js';

/** What of an overflow page is no content: the number of the next one. */
const NEXT_BYTES = 4;

/** A record that is in several pages: what its leaf holds of it, and the first page of the rest. */
export interface ScatteredRecord {
  readonly local: Buffer;
  readonly payloadBytes: number;
  readonly overflowPage: number;
}

/**
 * Puts records together that go on in overflow pages (https://www.sqlite.org/fileformat.html#ovflpgs).
 *
 * The pages of a chain mostly follow one another in the file, so they are asked for as if they did, many at a time;
 * each page says where the next one is. After a guess that was wrong a chain asks for one page only, and for twice as
 * many after each that was right.
 */
export async function gather(
  pages: DatabasePages,
  records: readonly ScatteredRecord[],
): Promise<Buffer[]> {
  // Memory for all: for each of its own, the garbage collector would have to run again and again.
  const memory = Buffer.allocUnsafeSlow(records.reduce((sum, each) => sum + each.payloadBytes, 0));
  let at = 0;
  const chains = records.map((record) => {
    return new Chain(record, memory.subarray(at, (at += record.payloadBytes)), pages);
  });
  for (;;) {
    const wanted: number[] = [];
    const asked: { readonly chain: Chain; readonly from: number; readonly count: number }[] = [];
    for (const chain of chains) {
      const room = pages.requestPages - wanted.length;
      const count = Math.min(chain.wanted, room);
      if (count === 0) continue;
      asked.push({ chain, from: wanted.length, count });
      for (let i = 0; i < count; i++) wanted.push(chain.next + i);
    }
    if (wanted.length === 0) return chains.map(({ bytes }) => bytes);
    const found = await readGuessed(pages, wanted, asked);
    for (const { chain, from, count } of asked) chain.take(found, from, count);
  }
}

/** Reads pages of which only the first of each run is known to exist. */
async function readGuessed(
  pages: DatabasePages,
  wanted: readonly number[],
  asked: { readonly from: number; count: number }[],
): Promise<Buffer> {
  try {
    return await pages.read(wanted);
  } catch (error) {
    if (!(error instanceof StoredFormError)) throw error;
  }
  // A guess went beyond the file's end.
  const firsts = asked.map(({ from }) => wanted[from]!);
  const found = await pages.read(firsts);
  const spread = Buffer.alloc(wanted.length * pages.pageBytes);
  asked.forEach((run, i) => {
    run.count = 1;
    const start = i * pages.pageBytes;
    found.copy(spread, run.from * pages.pageBytes, start, start + pages.pageBytes);
  });
  return spread;
}

class Chain {
  readonly bytes: Buffer;
  readonly #pages: DatabasePages;
  readonly #contentBytes: number;
  #filled: number;
  /** How many pages in a row are likely to be the chain's. */
  #trust = Infinity;
  next: number;

  /** @param bytes memory for the record. */
  constructor({ local, overflowPage }: ScatteredRecord, bytes: Buffer, pages: DatabasePages) {
    this.bytes = bytes;
    this.#filled = local.copy(this.bytes);
    this.next = overflowPage;
    this.#pages = pages;
    this.#contentBytes = pages.usableBytes - NEXT_BYTES;
  }

  /** Pages to ask for next. */
  get wanted(): number {
    return Math.min(this.pagesLeft, this.#trust);
  }

  get pagesLeft(): number {
    return Math.ceil((this.bytes.length - this.#filled) / this.#contentBytes);
  }

  /** Takes pages that were asked for from `next` on, as far as they are the chain's. */
  take(pages: Buffer, from: number, count: number): void {
    const end = from + count;
    let guess = this.next;
    let i = from;
    for (; i < end && guess === this.next; i++) {
      const start = i * this.#pages.pageBytes;
      const content = Math.min(this.#contentBytes, this.bytes.length - this.#filled);
      const contentStart = start + NEXT_BYTES;
      pages.copy(this.bytes, this.#filled, contentStart, contentStart + content);
      this.#filled += content;
      this.next = pages.readUInt32BE(start);
      guess++;
      if (this.pagesLeft > 0 && this.next === 0) {
        throw new StoredFormError('a chain of overflow pages ends too early');
      }
    }
    this.#trust = i < end || guess !== this.next ? 1 : 2 * count;
  }
}
