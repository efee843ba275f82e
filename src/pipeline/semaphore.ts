/** Counts out permits, first come, first served. */
export class Semaphore {
  readonly #waiting: { readonly permits: number; readonly grant: () => void }[] = [];
  #free: number;

  constructor(permits: number) {
    this.#free = permits;
  }

  async acquire(permits = 1): Promise<void> {
    if (this.#waiting.length === 0 && this.#free >= permits) {
      this.#free -= permits;
      return;
    }
    await new Promise<void>((grant) => this.#waiting.push({ permits, grant }));
  }

  /** Takes permits without waiting, even more than there are: for what turned out larger than was asked for. */
  overdraw(permits: number): void {
    this.#free -= permits;
  }

  release(permits = 1): void {
    this.#free += permits;
    for (let next = this.#waiting[0]; next && this.#free >= next.permits; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= next.permits;
      next.grant();
    }
  }
}
