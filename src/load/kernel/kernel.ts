import { readFile } from 'node:fs/promises';

const WASM_PAGE_BYTES = 65_536;
/** Memory is grown by this at least. */
const STEP_BYTES = 2 * 1024 * 1024;
/** Addresses stay positive as 32-bit numbers with a sign, as which the kernel returns them. */
const MAX_BYTES = 2 ** 31 - WASM_PAGE_BYTES;
/** Memory that stays with a thread between two tasks. */
const MAX_KEPT_BYTES = 64 * 1024 * 1024;

/** What the kernel exports: see `assembly/index.ts`. Addresses and sizes are 32-bit numbers, and stay below 2^31. */
export interface KernelExports {
  readonly memory: WebAssembly.Memory;
  heapBase(): number;
  setTable(
    fields: number,
    columns: number,
    keyFields: number,
    pageBytes: number,
    usableBytes: number,
    maxPayload: number,
  ): void;
  setBounds(table: number, count: number): void;
  setRowids(hasAfter: number, after: bigint, upTo: bigint): void;
  setLimit(end: number): void;
  setValues(from: number, end: number, pageBytes: number, largestNode: number): void;
  valueBytes(): number;
  movedBytes(): number;
  placeValues(page: bigint, transaction: bigint): void;
  begin(at: number, sizes: number, ranges: number): void;
  recordsEnd(): number;
  recordCount(): number;
  payloadBytes(): number;
  lastRowid(): bigint;
  stoppedPage(): number;
  stoppedCell(): number;
  scan(first: number, end: number): number;
  resume(): number;
  takeWhole(at: number, size: number, rowid: bigint): number;
  place(keyBytes: number, size: number): void;
  group(to: number, starts: number): void;
  setAnswer(
    fields: number,
    columns: number,
    keyFields: number,
    values: number,
    maxEntryBytes: number,
    maxRowBytes: number,
  ): void;
  takeEntries(
    from: number,
    end: number,
    to: number,
    limit: number,
    spans: number,
    base: number,
    maxRows: number,
    maxBytes: number,
  ): number;
  metOdd(): number;
  nextEntry(): number;
  lastEntry(): number;
  takenEnd(): number;
  takenBytes(): number;
  keyRoom(): number;
  countRecords(from: number, end: number): number;
  largestRecord(): number;
  keyBytesOf(record: number): number;
  sortRecords(from: number, end: number, entries: number, spare: number): number;
  setPages(pageBytes: number, largestNode: number, limitBytes: number): void;
  setRun(
    pages: number,
    leafNumbers: number,
    separators: number,
    separatorEnds: number,
    references: number,
  ): void;
  packRun(from: number, end: number): number;
  runSize(): number;
  leafCount(): number;
  overflowCount(): number;
  separatorSize(): number;
  bigCount(): number;
}

/** WebAssembly and its memory, for one task at a time. */
export class Kernel {
  readonly wasm: KernelExports;
  #bytes: Buffer;

  private constructor(wasm: KernelExports) {
    this.wasm = wasm;
    this.#bytes = Buffer.from(wasm.memory.buffer);
  }

  /** @param file what `assembly/index.ts` is compiled to. */
  static async load(file: string): Promise<Kernel> {
    const { instance } = await WebAssembly.instantiate(await readFile(file));
    return new Kernel(instance.exports as unknown as KernelExports);
  }

  /** All of the memory. Another buffer after {@link reserve}. */
  get bytes(): Buffer {
    return this.#bytes;
  }

  /**
   * Makes the memory large enough.
   *
   * @throws {RangeError} for more than 2 GiB, or more than the machine has.
   */
  reserve(end: number): void {
    if (end <= this.#bytes.length) return;
    if (end > MAX_BYTES) throw new RangeError(`the kernel cannot have ${end} bytes`);
    const step = Math.min(STEP_BYTES, MAX_BYTES - this.#bytes.length);
    const more = Math.max(step, end - this.#bytes.length);
    this.wasm.memory.grow(Math.ceil(more / WASM_PAGE_BYTES));
    this.#bytes = Buffer.from(this.wasm.memory.buffer);
  }
}

/** The kernels of a thread: one for each task that is under way, kept for the next. */
export class Kernels {
  readonly #file: () => string;
  readonly #free: Kernel[] = [];

  /** @param file what `assembly/index.ts` is compiled to. */
  constructor(file: () => string) {
    this.#file = file;
  }

  /** One that is for its caller alone. */
  async load(): Promise<Kernel> {
    return await Kernel.load(this.#file());
  }

  /** Runs a task with a kernel that is nobody else's until the task has ended. */
  async use<T>(task: (kernel: Kernel) => Promise<T>): Promise<T> {
    const kernel = this.#free.pop() ?? (await this.load());
    try {
      return await task(kernel);
    } finally {
      if (kernel.bytes.length <= MAX_KEPT_BYTES) this.#free.push(kernel);
    }
  }
}

/** Gives out memory, one place behind the other. */
export class Places {
  #end: number;

  constructor(from: number) {
    this.#end = Math.ceil(from / 8) * 8;
  }

  get end(): number {
    return this.#end;
  }

  take(bytes: number): number {
    const from = this.#end;
    this.#end = Math.ceil((from + bytes) / 8) * 8;
    return from;
  }
}
