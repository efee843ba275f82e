import { BroadcastChannel, getEnvironmentData, setEnvironmentData } from 'node:worker_threads';

/*
 * What upsets syncs within this process: countdowns that the threads of a pool share with whoever sets them. One that
 * comes to zero goes off, once.
 */

type Slots = Int32Array<SharedArrayBuffer>;

const CUT = 0;
const ABORT = 1;
const TRANSACTION = 2;
const SLOTS = 3;
const NAME = 'storage-sync chaos countdowns';

/** The countdowns as their owner sees them. One in a process, made before the threads. */
export class Countdowns implements Disposable {
  readonly #slots: Slots = new Int32Array(new SharedArrayBuffer(SLOTS * 4));
  readonly #aborts = new BroadcastChannel(NAME);
  #abort: () => void = () => undefined;

  constructor() {
    setEnvironmentData(NAME, this.#slots as never);
    this.#aborts.onmessage = () => this.#abort();
  }

  /** Stops them all. */
  clear(): void {
    this.#slots.fill(0);
    this.#abort = () => undefined;
  }

  cutAtStatement(statement: number): void {
    Atomics.store(this.#slots, CUT, statement);
  }

  /** Calls back while the n-th statement from now is under way. */
  abortAtStatement(statement: number, abort: () => void): void {
    this.#abort = abort;
    Atomics.store(this.#slots, ABORT, statement);
  }

  failAtTransaction(transaction: number): void {
    Atomics.store(this.#slots, TRANSACTION, transaction);
  }

  [Symbol.dispose](): void {
    this.#aborts.close();
  }
}

let shared: { readonly slots: Slots; readonly aborts: BroadcastChannel } | undefined;

function inThread(): NonNullable<typeof shared> {
  if (!shared) {
    const aborts = new BroadcastChannel(NAME);
    aborts.unref();
    shared = { slots: getEnvironmentData(NAME) as unknown as Slots, aborts };
  }
  return shared;
}

/** Counts a statement. True where the connection is to be cut in it. */
export function statementIsCut(): boolean {
  const { slots, aborts } = inThread();
  if (goesOff(slots, ABORT)) aborts.postMessage(null);
  return goesOff(slots, CUT);
}

/** Counts a transaction. True where it is to fail. */
export function transactionFails(): boolean {
  return goesOff(inThread().slots, TRANSACTION);
}

function goesOff(slots: Slots, slot: number): boolean {
  return Atomics.load(slots, slot) > 0 && Atomics.sub(slots, slot, 1) === 1;
}
