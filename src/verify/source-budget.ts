/** Counts the rows read from the source, and how many more may be. */
export class SourceBudget {
  readonly #maxRows: number;
  #read = 0;

  constructor(maxRows: number | undefined) {
    this.#maxRows = maxRows ?? Infinity;
  }

  get isBounded(): boolean {
    return this.#maxRows !== Infinity;
  }

  get read(): number {
    return this.#read;
  }

  get left(): number {
    return Math.max(0, this.#maxRows - this.#read);
  }

  /** Rows that a page may have: half of what is left, since each of them may have to be looked at again. */
  pageRows(wanted: number): number {
    return this.isBounded ? Math.min(wanted, Math.ceil(this.left / 2)) : wanted;
  }

  spend(rows: number): void {
    this.#read += rows;
  }
}
