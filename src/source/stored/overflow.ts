import { freeMemory } from '../../free-memory.js';
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
  const chains = new Chains(pages, records);
  for (;;) {
    const wanted = chains.ask();
    if (wanted.length === 0) return chains.records;
    const content = await readGuessed(pages, wanted, chains.asked);
    chains.take(content);
    freeMemory(content);
  }
}

/** Gives the memory of records back that were put together, all of it. */
export function freeGathered([first]: readonly Buffer[]): void {
  if (first) freeMemory(new Uint8Array(first.buffer));
}

/** Pages that a chain asked for: so many, from one place on in the list of all. */
interface Asked {
  readonly chain: Chain;
  readonly from: number;
  count: number;
}

/** Reads pages of which only the first of each run is known to exist. */
async function readGuessed(
  pages: DatabasePages,
  wanted: readonly number[],
  asked: readonly Asked[],
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

/** The chains of some records. Its loops are not in an asynchronous function: that would be compiled again and again. */
class Chains {
  readonly #chains: Chain[] = [];
  readonly #requestPages: number;
  /** The first that may have pages to come. */
  #first = 0;
  /** What was asked for last. */
  asked: Asked[] = [];

  constructor(pages: DatabasePages, records: readonly ScatteredRecord[]) {
    this.#requestPages = pages.requestPages;
    let size = 0;
    for (const { payloadBytes } of records) size += payloadBytes;
    // Memory for all: for each of its own, the garbage collector would have to run again and again.
    const memory = Buffer.allocUnsafeSlow(size);
    let at = 0;
    for (const record of records) {
      const end = at + record.payloadBytes;
      this.#chains.push(new Chain(record, memory.subarray(at, end), pages));
      at = end;
    }
  }

  get records(): Buffer[] {
    return this.#chains.map(({ bytes }) => bytes);
  }

  /** The pages to read next: none when all records are whole. */
  ask(): number[] {
    const chains = this.#chains;
    const wanted: number[] = [];
    this.asked = [];
    while (this.#first < chains.length && chains[this.#first]!.wanted === 0) this.#first++;
    for (let i = this.#first; i < chains.length && wanted.length < this.#requestPages; i++) {
      const chain = chains[i]!;
      const count = Math.min(chain.wanted, this.#requestPages - wanted.length);
      if (count === 0) continue;
      this.asked.push({ chain, from: wanted.length, count });
      for (let j = 0; j < count; j++) wanted.push(chain.next + j);
    }
    return wanted;
  }

  /** Takes the pages that were asked for, one behind the other. */
  take(pages: Buffer): void {
    for (const { chain, from, count } of this.asked) chain.take(pages, from, count);
  }
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
