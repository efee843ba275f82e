import { closeSync, openSync } from 'node:fs';
import { writeAll } from '../cache/bulk/bulk-file.js';
import { LeafRunBuilder } from '../cache/bulk/leaf-run.js';
import { cacheIoError } from '../cache/files.js';
import type { GroupedRecords } from './spool.js';
import type { PackedRange, PagesRef } from './tasks.js';

/** Writes records as pages of LMDB. Keeps its memory for the next ones. */
export class PageWriter {
  #builder: LeafRunBuilder | null = null;
  #pageSize = 0;

  /** @param places the records in the order of their keys. */
  write(pages: PagesRef, bytes: Buffer, records: GroupedRecords, places: Uint32Array): PackedRange {
    const builder = this.#builderFor(pages.pageSize);
    builder.start();
    build(builder, bytes, records, places);
    const count = builder.pageCount;
    const first = Number(Atomics.add(pages.nextPage, 0, BigInt(count)));
    const placed = builder.place(first, pages.transaction);
    try {
      const fd = openSync(pages.path, 'r+');
      try {
        writeAll(fd, placed.pages, first * pages.pageSize);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      throw cacheIoError(error, pages.path);
    }
    return { run: placed.run };
  }

  #builderFor(pageSize: number): LeafRunBuilder {
    if (this.#builder === null || this.#pageSize !== pageSize) {
      this.#builder = new LeafRunBuilder(pageSize);
      this.#pageSize = pageSize;
    }
    return this.#builder;
  }
}

function build(
  builder: LeafRunBuilder,
  bytes: Buffer,
  { keyStarts, valueStarts, ends }: GroupedRecords,
  places: Uint32Array,
): void {
  for (let i = 0; i < places.length; i++) {
    const place = places[i]!;
    builder.add(bytes, keyStarts[place]!, valueStarts[place]!, ends[place]!);
  }
  const last = places.length === 0 ? null : places[places.length - 1]!;
  builder.end(bytes, last === null ? null : { start: keyStarts[last]!, end: valueStarts[last]! });
}
