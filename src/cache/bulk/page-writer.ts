import { placeRun } from './bulk-file.js';
import { writeFully } from './data-file.js';
import type { LeafRun } from './leaf-run.js';

const PENDING_BYTES = 1024 * 1024;

/** Writes pages that follow on one another, some at a time. */
export class PageWriter {
  readonly #fd: number;
  readonly #path: string;
  readonly #pageSize: number;
  readonly #transaction: number;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #at: number;
  #next: number;

  constructor(fd: number, path: string, pageSize: number, first: number, transaction: number) {
    this.#fd = fd;
    this.#path = path;
    this.#pageSize = pageSize;
    this.#transaction = transaction;
    this.#at = first * pageSize;
    this.#next = first;
  }

  /** The number of the next page. */
  get next(): number {
    return this.#next;
  }

  /** Takes a page, and returns its number. */
  put(page: Buffer): number {
    const number = this.#next;
    page.writeBigUInt64LE(BigInt(number), 0);
    page.writeBigUInt64LE(BigInt(this.#transaction), 8);
    this.#append(page);
    return number;
  }

  /** Takes the pages of a run, and returns the number of the first. */
  putRun(run: LeafRun): number {
    const base = this.#next;
    placeRun(run, base, this.#transaction);
    for (const chunk of run.chunks) this.#append(chunk);
    return base;
  }

  flush(): void {
    const bytes = Buffer.concat(this.#pending);
    writeFully(this.#fd, this.#path, bytes, this.#at);
    this.#at += bytes.length;
    this.#pending = [];
    this.#pendingBytes = 0;
  }

  #append(pages: Uint8Array): void {
    this.#pending.push(pages);
    this.#pendingBytes += pages.length;
    this.#next += pages.length / this.#pageSize;
    if (this.#pendingBytes >= PENDING_BYTES) this.flush();
  }
}
