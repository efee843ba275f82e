/** Beyond this a clock differs from the server's; below it, the second's fraction that `Date` does not tell. */
const TOLERANCE_MS = 2000;

/** The server's clock, as far as its answers tell it: a browser's may be wrong. */
export class ServerClock {
  #aheadMs = 0;

  /** @param date the answer's `Date` header, which counts whole seconds. */
  observe(date: string | null): void {
    const told = Date.parse(date ?? '');
    if (Number.isNaN(told)) return;
    const aheadMs = told + 500 - Date.now();
    if (Math.abs(aheadMs - this.#aheadMs) > TOLERANCE_MS) this.#aheadMs = aheadMs;
  }

  /** Milliseconds since the epoch. */
  now(): number {
    return Date.now() + this.#aheadMs;
  }
}
