import type { BulkTarget } from '../cache/bulk/bulk-file.js';

/**
 * Of the space behind a data file's last page. Large enough for writes to cost what their bytes do; what is not filled
 * of each file of a spool, and of each range of pages, is little then.
 */
export const SEGMENT_BYTES = 256 * 1024;

const NEXT = 0;
const GIVEN = 1;
const TAKEN_AGAIN = 2;
const FIRST_GIVEN = 3;

/**
 * The space behind a data file's last page, in segments: first of all for what is spooled, then for pages. Segments that
 * are not needed any more are given again, so that the file, and the memory in which the system holds it, is hardly
 * larger than its pages. All threads of a load share what is told here.
 */
export class Segments {
  readonly memory: SharedArrayBuffer;
  readonly #target: BulkTarget;
  readonly #shared: Int32Array;

  /** @param memory made by {@link memoryFor}, or that of another thread. */
  constructor(target: BulkTarget, memory: SharedArrayBuffer) {
    this.memory = memory;
    this.#target = target;
    this.#shared = new Int32Array(memory);
  }

  /** @param count how many may be given back at most. */
  static memoryFor(count: number): SharedArrayBuffer {
    return new SharedArrayBuffer(4 * (FIRST_GIVEN + count));
  }

  /** The first page that was never part of a segment. */
  get nextPage(): number {
    return this.#pageOf(Atomics.load(this.#shared, NEXT));
  }

  /** A segment that nobody else has. */
  take(): number {
    const shared = this.#shared;
    for (;;) {
      const taken = Atomics.load(shared, TAKEN_AGAIN);
      if (taken === Atomics.load(shared, GIVEN)) return Atomics.add(shared, NEXT, 1);
      const segment = shared[FIRST_GIVEN + taken]!;
      if (Atomics.compareExchange(shared, TAKEN_AGAIN, taken, taken + 1) === taken) return segment;
    }
  }

  /** So many pages that follow on one another and that nobody else has. Tells the first. */
  takePages(count: number): number {
    const each = SEGMENT_BYTES / this.#target.pageSize;
    if (count <= each) return this.#pageOf(this.take());
    return this.#pageOf(Atomics.add(this.#shared, NEXT, Math.ceil(count / each)));
  }

  /** Gives segments back. For one thread alone. */
  give(segments: readonly number[]): void {
    const given = Atomics.load(this.#shared, GIVEN);
    this.#shared.set(segments, FIRST_GIVEN + given);
    Atomics.store(this.#shared, GIVEN, given + segments.length);
  }

  /** Where a segment begins in the data file. */
  positionOf(segment: number): number {
    return this.#pageOf(segment) * this.#target.pageSize;
  }

  #pageOf(segment: number): number {
    return this.#target.nextPage + segment * (SEGMENT_BYTES / this.#target.pageSize);
  }
}
