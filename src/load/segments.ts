import type { BulkTarget } from '../cache/bulk/bulk-file.js';

/**
 * Of the space behind a data file's last page. Large enough for writes to cost what their bytes do; what is not filled
 * of each file of a spool is little then.
 */
export const SEGMENT_BYTES = 256 * 1024;

const NEXT = 0;
const GIVEN = 1;
const TAKEN_AGAIN = 2;
const FIRST_GIVEN = 3;

/**
 * The space behind a data file's last page: first of all for what is spooled, in segments, then for pages. Segments that
 * are not needed any more are given again, so that the file, and the memory in which the system holds it, is hardly
 * larger than its pages. All threads of a load share what is told here. Pages are numbered in the file.
 */
export class Segments {
  readonly memory: SharedArrayBuffer;
  readonly #shared: Int32Array;
  readonly #first: number;
  readonly #each: number;

  /** @param memory made by {@link memoryFor}, or that of another thread. */
  constructor({ nextPage, pageSize }: BulkTarget, memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#shared = new Int32Array(memory);
    this.#first = nextPage;
    this.#each = SEGMENT_BYTES / pageSize;
  }

  /** @param count how many segments may be given back at most. */
  static memoryFor(count: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * (FIRST_GIVEN + count));
  }

  /** The first page that was never given to anyone. */
  get nextPage(): number {
    return this.#first + Atomics.load(this.#shared, NEXT);
  }

  /** A segment that nobody else has. Tells its first page. */
  take(): number {
    return this.#takeAgain() ?? this.#takeNew(this.#each);
  }

  /** So many pages that follow on one another and that nobody else has. Tells the first. */
  takePages(count: number): number {
    return (count <= this.#each ? this.#takeAgain() : null) ?? this.#takeNew(count);
  }

  /**
   * Gives segments back. For one thread alone.
   *
   * @param segments by their first pages.
   */
  give(segments: readonly number[]): void {
    const given = Atomics.load(this.#shared, GIVEN);
    const places = segments.map((page) => page - this.#first);
    this.#shared.set(places, FIRST_GIVEN + given);
    Atomics.store(this.#shared, GIVEN, given + segments.length);
  }

  #takeNew(pages: number): number {
    return this.#first + Atomics.add(this.#shared, NEXT, pages);
  }

  #takeAgain(): number | null {
    const shared = this.#shared;
    for (;;) {
      const taken = Atomics.load(shared, TAKEN_AGAIN);
      if (taken === Atomics.load(shared, GIVEN)) return null;
      const place = shared[FIRST_GIVEN + taken]!;
      if (Atomics.compareExchange(shared, TAKEN_AGAIN, taken, taken + 1) === taken) {
        return this.#first + place;
      }
    }
  }
}
