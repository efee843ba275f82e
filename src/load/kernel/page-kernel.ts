import type { LeafRun } from '../../cache/bulk/leaf-run.js';
import { largestNode } from '../../cache/lmdb-format.js';
import { MAX_KEY_BYTES } from '../../transform/key-codec.js';
import { SEGMENT_BYTES } from '../segments.js';
import { Places, type Kernel, type KernelExports } from './kernel.js';

/** Of an entry of the sort: a number of eight bytes, an address of four, and four more. */
const ENTRY_BYTES = 16;
/** Of a value on pages of its own: its chunk, where the reference to it is, and its first page. */
const REFERENCE_BYTES = 12;
/** Sorts a group of spooled records, and packs them into pages of LMDB, in WebAssembly. */
export class PageKernel {
  readonly #kernel: Kernel;
  readonly #wasm: KernelExports;
  #from = 0;
  #end = 0;
  #entries = 0;
  #entriesEnd = 0;
  #free = 0;

  /** @param kernel nobody else's from {@link groupMemory} on until the last run is not needed any more. */
  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#wasm = kernel.wasm;
  }

  /** Memory for a group of so many bytes, to be filled. What was there before is forgotten. */
  groupMemory(bytes: number): Buffer {
    const places = new Places(this.#wasm.heapBase());
    this.#from = places.take(bytes);
    this.#end = this.#from + bytes;
    this.#kernel.reserve(this.#end);
    return this.#kernel.bytes.subarray(this.#from, this.#end);
  }

  /**
   * Sorts the group.
   *
   * @returns false where two records have the same key.
   * @throws {RangeError} for bytes that are no group.
   */
  sort(): boolean {
    const count = this.#wasm.countRecords(this.#from, this.#end);
    if (count < 0) throw new RangeError('a spooled record goes beyond its group');
    const places = new Places(this.#end);
    const entries = places.take(ENTRY_BYTES * count);
    const spare = places.take(ENTRY_BYTES * count);
    this.#free = places.end;
    this.#kernel.reserve(this.#free);
    this.#entries = this.#wasm.sortRecords(this.#from, this.#end, entries, spare);
    this.#entriesEnd = this.#entries + ENTRY_BYTES * count;
    return this.#entries !== 0;
  }

  /**
   * The sorted group as runs of pages, as many as a segment has; more only where one record needs them. The pages of each
   * are lost with the next.
   */
  *runs(pageSize: number): Generator<LeafRun, void, void> {
    const wasm = this.#wasm;
    const most = Math.max(SEGMENT_BYTES, wasm.largestRecord() + 3 * pageSize);
    const leaves = Math.ceil(most / pageSize);
    const places = new Places(this.#free);
    const layout = {
      pages: places.take(most),
      leafNumbers: places.take(4 * leaves),
      separators: places.take(MAX_KEY_BYTES * leaves),
      separatorEnds: places.take(4 * leaves),
      references: places.take(REFERENCE_BYTES * leaves),
    };
    this.#kernel.reserve(places.end);
    wasm.setPages(pageSize, largestNode(pageSize), SEGMENT_BYTES);
    const { pages, leafNumbers, separators, separatorEnds, references } = layout;
    wasm.setRun(pages, leafNumbers, separators, separatorEnds, references);
    for (let from = this.#entries; from < this.#entriesEnd;) {
      const to = wasm.packRun(from, this.#entriesEnd);
      yield this.#run(pageSize, layout, (to - from) / ENTRY_BYTES, to - ENTRY_BYTES);
      from = to;
    }
  }

  #run(pageSize: number, layout: RunLayout, entries: number, last: number): LeafRun {
    const wasm = this.#wasm;
    const { bytes } = this.#kernel;
    const { pages, leafNumbers, separators, separatorEnds, references } = layout;
    const size = wasm.runSize();
    const leafPages = wasm.leafCount();
    const record = bytes.readUInt32LE(last + 8);
    const key = record + 8;
    const memory = bytes.buffer as ArrayBuffer;
    return {
      pageSize,
      pageCount: size / pageSize,
      leafPages,
      overflowPages: wasm.overflowCount(),
      entries,
      leafNumbers: new Uint32Array(memory, leafNumbers, leafPages).slice(),
      separators: new Uint8Array(memory, separators, wasm.separatorSize()).slice(),
      separatorEnds: new Uint32Array(memory, separatorEnds, leafPages).slice(),
      lastKey: new Uint8Array(memory, key, wasm.keyBytesOf(record)).slice(),
      chunks: [new Uint8Array(memory, pages, size)],
      references: new Uint32Array(memory, references, 3 * wasm.bigCount()).slice(),
    };
  }
}

interface RunLayout {
  readonly pages: number;
  readonly leafNumbers: number;
  readonly separators: number;
  readonly separatorEnds: number;
  readonly references: number;
}
