const INITIAL_BYTES = 64 * 1024;

/**
 * Bytes that came and are not read yet, in one piece. What was not read whole when more comes is copied together into a
 * memory that doubles, so that an entry costs no more than its length however small the pieces are.
 */
export class UnreadBytes {
  /** The bytes from `at` to `end`. */
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  end = 0;
  #own: Buffer | null = null;

  add(piece: Buffer): void {
    const left = this.end - this.at;
    if (left === 0) {
      this.bytes = piece;
      this.at = 0;
      this.end = piece.length;
      return;
    }
    const needed = left + piece.length;
    let own = this.bytes === this.#own ? this.#own : null;
    if (own === null || own.length - this.end < piece.length) {
      // What was read lies in front: it is left behind, and others may still look at it.
      own = Buffer.allocUnsafeSlow(Math.max(INITIAL_BYTES, 2 * needed));
      this.bytes.copy(own, 0, this.at, this.end);
      this.#own = own;
      this.bytes = own;
      this.at = 0;
      this.end = left;
    }
    piece.copy(own, this.end);
    this.end += piece.length;
  }
}
