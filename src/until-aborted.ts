/** What is to end by a signal: all of it behind one listener, as Node warns of more than ten. */
const endsBySignal = new WeakMap<AbortSignal, Ends>();

/** What `work` gives, unless the signal fires first: then it rejects with the signal's reason, and the work goes on. */
export async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let end: (() => void) | undefined;
  let ends: Ends | undefined;
  try {
    return await Promise.race([
      work,
      new Promise<never>((_, reject) => {
        end = () => reject(signal.reason as Error);
        if (signal.aborted) end();
        else {
          ends = endsOf(signal);
          ends.add(end);
        }
      }),
    ]);
  } finally {
    if (end) ends?.delete(end);
  }
}

function endsOf(signal: AbortSignal): Ends {
  let ends = endsBySignal.get(signal);
  if (!ends) {
    ends = new Ends(signal);
    endsBySignal.set(signal, ends);
  }
  return ends;
}

/** Listens to a signal as long as there is something to end. */
class Ends {
  readonly #signal: AbortSignal;
  readonly #ends = new Set<() => void>();
  readonly #endAll = () => {
    for (const end of this.#ends) end();
  };

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  add(end: () => void): void {
    if (this.#ends.size === 0) this.#signal.addEventListener('abort', this.#endAll);
    this.#ends.add(end);
  }

  delete(end: () => void): void {
    this.#ends.delete(end);
    if (this.#ends.size === 0) this.#signal.removeEventListener('abort', this.#endAll);
  }
}
