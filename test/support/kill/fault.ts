import { setTimeout as sleep } from 'node:timers/promises';
import { getEnvironmentData, setEnvironmentData } from 'node:worker_threads';
import { writeSync } from 'node:fs';

/**
 * What happens at the point:
 *
 * | action | effect                                                                         |
 * |--------|--------------------------------------------------------------------------------|
 * | kill   | SIGKILL to the whole process, from the thread that is there                    |
 * | throw  | an exception                                                                   |
 * | exit   | the thread ends on the spot                                                    |
 * | crash  | the thread meets an exception that nobody catches. Only where one may wait     |
 * | hold   | the thread stays there until it is released                                    |
 */
export type FaultAction = 'kill' | 'throw' | 'exit' | 'crash' | 'hold';

/** One fault at the n-th time that any thread comes to a point. It happens once. */
export interface Fault {
  readonly point: string;
  /** From 1. */
  readonly occurrence: number;
  readonly action: FaultAction;
}

interface Shared {
  readonly fault: Fault | null;
  /** See the slots below. */
  readonly slots: Int32Array<SharedArrayBuffer>;
}

const ARRIVALS = 0;
const ROWS_FETCHED = 1;
const HELD = 2;
const RELEASED = 3;
const SLOTS = 4;

const KEY = 'storage-sync test fault';
const LONGEST_HOLD_MS = 20_000;

/** The fault set for the threads started after it, as its owner sees it. */
export class FaultSwitch {
  readonly #slots: Int32Array<SharedArrayBuffer>;

  constructor(slots: Int32Array<SharedArrayBuffer>) {
    this.#slots = slots;
  }

  /** How often any thread has come to the point. */
  get arrivals(): number {
    return Atomics.load(this.#slots, ARRIVALS);
  }

  /** Rows that the source has answered to requests for pages. */
  get rowsFetched(): number {
    return Atomics.load(this.#slots, ROWS_FETCHED);
  }

  /** Waits until a thread is held at the point. */
  async held(): Promise<void> {
    const deadline = Date.now() + LONGEST_HOLD_MS;
    while (Atomics.load(this.#slots, HELD) === 0) {
      if (Date.now() > deadline) throw new Error('no thread came to the point of the fault');
      await sleep(2);
    }
  }

  release(): void {
    Atomics.store(this.#slots, RELEASED, 1);
    Atomics.notify(this.#slots, RELEASED);
  }
}

/** Sets the fault that threads started from now on meet. One at a time in a process. */
export function setFault(fault: Fault | null): FaultSwitch {
  const slots = new Int32Array(new SharedArrayBuffer(SLOTS * 4));
  current = { fault, slots };
  setEnvironmentData(KEY, current as never);
  return new FaultSwitch(slots);
}

let current: Shared | undefined;

function shared(): Shared {
  current ??= getEnvironmentData(KEY) as unknown as Shared | undefined;
  current ??= { fault: null, slots: new Int32Array(new SharedArrayBuffer(SLOTS * 4)) };
  return current;
}

/** Counts rows that the source has given. */
export function countRowsFetched(rows: number): void {
  Atomics.add(shared().slots, ROWS_FETCHED, rows);
}

/** Says that this thread is at a point, where nothing may wait. */
export function reach(point: string): void {
  const action = arrive(point);
  if (action === null) return;
  if (action === 'hold') {
    const { slots } = shared();
    Atomics.store(slots, HELD, 1);
    Atomics.wait(slots, RELEASED, 0, LONGEST_HOLD_MS);
    return;
  }
  act(point, action);
}

/** {@link reach} where one may wait: a held or crashing thread goes on with its other work. */
export async function reachAsync(point: string): Promise<void> {
  const action = arrive(point);
  if (action === null) return;
  if (action === 'hold') {
    const { slots } = shared();
    Atomics.store(slots, HELD, 1);
    const deadline = Date.now() + LONGEST_HOLD_MS;
    while (Atomics.load(slots, RELEASED) === 0 && Date.now() < deadline) await sleep(2);
    return;
  }
  if (action === 'crash') {
    setImmediate(() => {
      throw new Error(`a crash was injected at ${point}`);
    });
    await new Promise<never>(() => undefined);
  }
  act(point, action);
}

function arrive(point: string): FaultAction | null {
  const { fault, slots } = shared();
  if (fault?.point !== point) return null;
  return Atomics.add(slots, ARRIVALS, 1) + 1 === fault.occurrence ? fault.action : null;
}

function act(point: string, action: FaultAction): void {
  if (action === 'kill') {
    // Straight to the descriptor: nothing that waits would get out.
    writeSync(2, `${KILLED_AT}${point}\n`);
    process.kill(process.pid, 'SIGKILL');
  }
  if (action === 'exit') process.exit(1);
  throw new Error(`a fault was injected at ${point}`);
}

/** What a process says on stderr before it kills itself, followed by the point. */
export const KILLED_AT = 'killed at ';
