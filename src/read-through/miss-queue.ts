import { deferred, type Deferred } from '../deferred.js';
import { KEYS_PER_STATEMENT, MAX_KEYS_BYTES } from '../verify/key-condition.js';

/** Statements under way for one table at most. Keys that are missed meanwhile wait, and are then asked for together. */
const MAX_STATEMENTS = 4;

/** A key that is asked for, by whoever else wants it too. */
interface Flight<Value> extends Deferred<Value> {
  readonly key: Uint8Array;
  readonly text: string;
}

/** Gives an answer, or a failure, for each key; rejects where nothing could be had of any. */
export type AskSource<Value> = (
  keys: readonly Uint8Array[],
) => Promise<(text: string) => { readonly value: Value } | { readonly error: unknown }>;

/** Asks for each key once, however many wait for it, and for keys that are missed together in one statement. */
export class MissQueue<Value> {
  readonly #ask: AskSource<Value>;
  readonly #flights = new Map<string, Flight<Value>>();
  #waiting: Flight<Value>[] = [];
  #statements = 0;
  #due = false;

  constructor(ask: AskSource<Value>) {
    this.#ask = ask;
  }

  /** Keys that are being asked for, or about to be. */
  get pending(): number {
    return this.#flights.size;
  }

  /** Settles for every caller of the same key at once. */
  async ask(key: Uint8Array, text: string): Promise<Value> {
    const known = this.#flights.get(text);
    if (known) return await known.promise;
    const flight = { ...deferred<Value>(), key, text };
    // Everybody who waited may have given up.
    flight.promise.catch(() => undefined);
    this.#flights.set(text, flight);
    this.#waiting.push(flight);
    if (!this.#due) {
      this.#due = true;
      // Not at once: what else is missed in this turn of the event loop comes with it.
      setImmediate(() => {
        this.#due = false;
        this.#start();
      });
    }
    return await flight.promise;
  }

  #start(): void {
    while (this.#statements < MAX_STATEMENTS && this.#waiting.length > 0) {
      this.#statements++;
      void this.#run(this.#nextRun()).finally(() => {
        this.#statements--;
        this.#start();
      });
    }
  }

  #nextRun(): Flight<Value>[] {
    let bytes = 0;
    let count = 0;
    while (count < this.#waiting.length && count < KEYS_PER_STATEMENT && bytes < MAX_KEYS_BYTES) {
      bytes += this.#waiting[count++]!.key.byteLength;
    }
    const run = this.#waiting.slice(0, count);
    this.#waiting = this.#waiting.slice(count);
    return run;
  }

  async #run(run: readonly Flight<Value>[]): Promise<void> {
    try {
      const answerOf = await this.#ask(run.map(({ key }) => key));
      for (const flight of run) {
        const answer = answerOf(flight.text);
        this.#flights.delete(flight.text);
        if ('error' in answer) flight.reject(answer.error);
        else flight.resolve(answer.value);
      }
    } catch (error) {
      for (const flight of run) {
        this.#flights.delete(flight.text);
        flight.reject(error);
      }
    }
  }
}
