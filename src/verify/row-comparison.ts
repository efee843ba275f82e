import { canSplit } from '../source/page-reader.js';
import type { VerifyContext } from './context.js';
import { RowRepairer } from './row-repairer.js';
import { keyText } from './row-keys.js';
import { KEYS_PER_STATEMENT } from './key-condition.js';
import { newSums } from './seen-keys.js';
import type { TableProgress } from './state-file.js';
import { StoredComparison } from './stored-comparison.js';
import type { Repaired, TableFindings } from './table-findings.js';
import type {
  CompareBy,
  ComparedPage,
  Findings,
  KeySums,
  PendingRefs,
  RowRepairs,
  VerifyTarget,
  VerifyTasks,
} from './tasks.js';

/** So many times the ranges under way may wait for one before them. */
const AHEAD_OF_ORDER = 4;
/** Ranges that are found together. */
const RANGES_AHEAD = 16;
/** The first ranges are this much smaller than a page may be: until one was read, the size of rows is not known. */
const FIRST_RANGE_SHARE = 1 / 8;
/** Suspect keys that are looked up together. */
const KEYS_PER_LOOK = 1000;

/** Where the comparison of a table's rows stands. */
interface Place {
  readonly position: Uint8Array | null;
  readonly after: Uint8Array | null;
}

const START: Place = { position: null, after: null };

/**
 * Compares all rows of one table, from wherever an earlier run stopped. Pages are read and compared by the reader
 * threads, several at a time where the table's ranges are known; what they find is added in the order of the keys, so
 * that there is always one place up to which all is known.
 */
export class RowComparison {
  readonly #context: VerifyContext;
  readonly #target: VerifyTarget;
  readonly #pending: PendingRefs;
  readonly #findings: TableFindings;
  readonly #repairer: RowRepairer;
  readonly #entries: number;
  #place: Place = START;
  #sums: KeySums | null = null;
  #rowsDone = false;

  /** @param entries rows that the cache has. */
  constructor(
    context: VerifyContext,
    target: VerifyTarget,
    pending: PendingRefs,
    entries: number,
    findings: TableFindings,
  ) {
    this.#context = context;
    this.#target = target;
    this.#pending = pending;
    this.#findings = findings;
    this.#entries = entries;
    this.#repairer = new RowRepairer(context, target, pending.log, entries, findings);
  }

  /** @returns whether all rows were compared. */
  async run(from: TableProgress | null): Promise<boolean> {
    this.#restore(from);
    const { plan } = this.#target;
    if (!this.#rowsDone) {
      const inRanges = plan.inKeyOrder && canSplit(plan) && !this.#context.budget.isBounded;
      if (inRanges) this.#rowsDone = (await this.#compareStored()) || (await this.#compareRanges());
      else this.#rowsDone = await this.#comparePages();
    }
    return this.#rowsDone && (this.#sums === null || (await this.#compareUnseen(this.#sums)));
  }

  /** Where the next run is to go on. */
  save(): Omit<TableProgress, 'findings' | 'done'> {
    const sums = this.#sums && Buffer.from(this.#sums.buffer).toString('base64');
    return {
      position: base64(this.#place.position),
      after: base64(this.#place.after),
      sums,
      rowsDone: this.#rowsDone,
    };
  }

  /** Behind which key nothing was compared, for people; null where that is no key. */
  unverifiedBehind(): string | null {
    const { after } = this.#place;
    return after === null ? null : keyText(this.#target.plan, after);
  }

  #restore(from: TableProgress | null): void {
    const { plan } = this.#target;
    const known = from && from.position !== null && from.sums ? bytesOf(from.sums)! : null;
    if (!plan.inKeyOrder) {
      this.#sums = known ? new BigUint64Array(known.slice().buffer) : newSums(this.#entries);
    }
    this.#place = from ? { position: bytesOf(from.position), after: bytesOf(from.after) } : START;
    this.#rowsDone = from?.rowsDone ?? false;
  }

  /** One page after the other, as far as the budget goes. */
  async #comparePages(): Promise<boolean> {
    const { bounds, budget } = this.#context;
    const { plan } = this.#target;
    const limit = plan.limit?.count ?? Infinity;
    let maxRows = bounds.maxRows;
    for (;;) {
      const left = limit - this.#findings.rowsCompared;
      const rows = budget.pageRows(Math.min(maxRows, left));
      if (left <= 0) return true;
      if (rows <= 0) return false;
      const page = await this.#page(this.#place, null, rows);
      await this.#take(page, () => {
        this.#place = { position: page.position, after: page.after };
        if (this.#sums) this.#sums = page.sums;
      });
      if (page.done) return true;
      if (page.exhausted) return false;
      maxRows = Math.min(bounds.maxRows, page.nextMaxRows);
    }
  }

  /** All rows as they are stored, where that tells. What was found is added in the end, all at once. */
  async #compareStored(): Promise<boolean> {
    const { position, after } = this.#place;
    const isAtStart = position === null && after === null;
    if (!isAtStart || this.#target.plan.filter !== null) return false;
    const stored = new StoredComparison(this.#context, this.#target, this.#entries);
    const rows = await stored.run();
    if (rows === null) return false;
    const keys = rows.different.toSorted((a, b) => Buffer.compare(a, b));
    const looks: Looked[] = [];
    for (let at = 0; at < keys.length; at += KEYS_PER_LOOK) {
      looks.push(await this.#lookUp(keys.slice(at, at + KEYS_PER_LOOK), false));
    }
    this.#findings.compared(rows.compared, rows.rejected);
    for (const { found, repaired } of looks) this.#findings.add(found, repaired);
    this.#rowsDone = true;
    return true;
  }

  /** Several ranges at a time. What the ranges found is added in their order, whichever is done first. */
  async #compareRanges(): Promise<boolean> {
    const { lanes } = this.#context;
    const ranges = new RangeFinder(this.#context, this.#target, this.#place.after);
    const pending: PendingRange[] = [];
    let exhausted = false;
    try {
      for (;;) {
        const running = () => pending.filter(({ isSettled }) => !isSettled());
        while (!exhausted && running().length < lanes && pending.length < AHEAD_OF_ORDER * lanes) {
          const range = await ranges.next();
          if (range === null) exhausted = true;
          else pending.push(pendingRange(this.#compareRange(range, ranges)));
        }
        const [first] = pending;
        if (first === undefined) return true;
        if (!first.isSettled()) await Promise.race(running().map(({ settled }) => settled));
        while (pending[0]?.isSettled()) this.#addRange(await pending.shift()!.result);
      }
    } finally {
      await Promise.all(pending.map(({ settled }) => settled));
    }
  }

  #addRange({ pages, upTo }: RangeResult): void {
    for (const { page, repaired } of pages) {
      this.#findings.compared(page.compared, page.rejected);
      this.#findings.add(page.findings, repaired);
    }
    this.#place = { position: null, after: upTo };
  }

  async #compareRange({ from, upTo, rows }: Range, ranges: RangeFinder): Promise<RangeResult> {
    const { bounds } = this.#context;
    const pages: RangeResult['pages'][number][] = [];
    let place: Place = { position: null, after: from };
    // One more than there seem to be shows at once that there are not more.
    let maxRows = Math.min(bounds.maxRows, rows + 1);
    for (;;) {
      const page = await this.#page(place, upTo, maxRows);
      const repaired = await this.#repairer.repair(page, page.findings.differences.missing);
      pages.push({ page: withoutRows(page), repaired });
      maxRows = Math.min(bounds.maxRows, page.nextMaxRows);
      ranges.rows = maxRows;
      if (page.done) return { pages, upTo };
      place = { position: page.position, after: page.after };
    }
  }

  async #page(place: Place, upTo: Uint8Array | null, maxRows: number): Promise<TakenPage> {
    const by = this.#sums ? 'keys' : 'range';
    return await this.#pageOf({ place, upTo, maxRows, by, sums: this.#sums });
  }

  async #pageOf(asked: AskedPage): Promise<TakenPage> {
    const { pool, bounds, repair, budget, meter, throwIfAborted, onRetries } = this.#context;
    const { place, upTo, maxRows, by, sums = null, newest = false } = asked;
    throwIfAborted();
    const page = await pool.read('comparePage', {
      ...this.#target,
      ...place,
      upTo,
      by,
      sums,
      newest,
      ...this.#pending,
      repair,
      bounds: { ...bounds, maxRows },
      maxLooks: this.#maxLooks(maxRows),
    });
    budget.spend(page.rows + page.findings.rows);
    onRetries(page.retries);
    meter.batch(this.#target.plan.name, page.compared, page.bytes);
    return page;
  }

  /** @param move moves the place behind the page, at the same instant as what was found is added. */
  async #take(page: TakenPage, move: () => void = () => undefined): Promise<void> {
    const repaired = await this.#repairer.repair(page, page.findings.differences.missing);
    this.#findings.compared(page.compared, page.rejected);
    this.#findings.add(page.findings, repaired);
    move();
  }

  /** Looks up the keys of the cache that the source may not have shown. */
  async #compareUnseen(shown: KeySums): Promise<boolean> {
    const { pool, throwIfAborted } = this.#context;
    let unseen: VerifyTasks['unseenKeys']['response'] = {
      sums: shown,
      keys: [],
      after: this.#place.after,
      done: false,
    };
    for (let reduced = false; !unseen.done; reduced = true) {
      throwIfAborted();
      const { sums, after } = unseen;
      unseen = await pool.read('unseenKeys', { ...this.#target, sums, reduced, after });
      for (let at = 0; at < unseen.keys.length;) {
        const keys = unseen.keys.slice(at, at + this.#keysPerLook());
        if (keys.length === 0) return false;
        await this.#look(keys, true, () => {
          this.#place = { ...this.#place, after: keys.at(-1)! };
        });
        at += keys.length;
      }
    }
    return true;
  }

  /** Rows that may be looked at again when a page was read. */
  #maxLooks(pageRows: number): number {
    const left = this.#context.budget.left - pageRows - this.#lookCost;
    return Math.max(0, Math.floor(left / (1 + this.#lookCost / KEYS_PER_STATEMENT)));
  }

  /** Keys that may be looked up together, twice. */
  #keysPerLook(): number {
    const affordable = Math.floor(this.#context.budget.left / 2) - this.#lookCost;
    const most = this.#lookCost > 0 ? KEYS_PER_STATEMENT : KEYS_PER_LOOK;
    return Math.max(0, Math.min(most, affordable));
  }

  /** What it takes to tell which rows are within the limit. */
  get #lookCost(): number {
    return this.#target.plan.limit?.count ?? 0;
  }

  /**
   * Compares the newest rows of the source, by the limit's column where there is a limit, else by key: whether they are
   * the same in the cache, or only whether they are there.
   */
  async compareNewest(rows: number, by: 'keys' | 'presence'): Promise<void> {
    const asked = { place: START, upTo: null, maxRows: rows, by, newest: true };
    await this.#take(await this.#pageOf(asked));
  }

  /**
   * Compares so many rows of the source behind a key that the cache has, or from the start.
   *
   * @returns the key up to which the cache was compared too, where the pages come in the order of its keys.
   */
  async compareBehind(
    after: Uint8Array | null,
    rows: number,
    by: 'range' | 'presence',
  ): Promise<Uint8Array | null> {
    const place = { position: null, after };
    const page = await this.#pageOf({ place, upTo: null, maxRows: rows, by });
    await this.#take(page);
    return page.after;
  }

  /** Looks at rows by their keys. */
  async look(keys: readonly Uint8Array[]): Promise<void> {
    await this.#look(keys, false, () => undefined);
  }

  async #look(keys: readonly Uint8Array[], onlyExtra: boolean, move: () => void): Promise<void> {
    const { found, repaired } = await this.#lookUp(keys, onlyExtra);
    this.#findings.add(found, repaired);
    move();
  }

  async #lookUp(keys: readonly Uint8Array[], onlyExtra: boolean): Promise<Looked> {
    const candidates = keys.map((key) => ({ key, seen: undefined }));
    const { pool, bounds, repair, budget, throwIfAborted, onRetries } = this.#context;
    throwIfAborted();
    const request = { ...this.#target, ...this.#pending, bounds, repair, candidates, onlyExtra };
    const found = await pool.read('lookAt', request);
    budget.spend(found.rows);
    onRetries(found.retries);
    const repaired = await this.#repairer.repair(found, found.differences.missing);
    return { found, repaired };
  }
}

/** What was found at some keys, and what was done about it. */
interface Looked {
  readonly found: Findings;
  readonly repaired: Repaired;
}

type TakenPage = ComparedPage & RowRepairs;

interface AskedPage {
  readonly place: Place;
  readonly upTo: Uint8Array | null;
  readonly maxRows: number;
  readonly by: CompareBy;
  readonly sums?: KeySums | null;
  readonly newest?: boolean;
}

interface Range {
  readonly from: Uint8Array | null;
  readonly upTo: Uint8Array | null;
  /** Rows in it, about. */
  readonly rows: number;
}

interface RangeResult {
  readonly pages: readonly {
    readonly page: ComparedPage;
    readonly repaired: { readonly written: number; readonly removed: number };
  }[];
  readonly upTo: Uint8Array | null;
}

/** Finds the ranges of a table by the keys that the cache has: that costs the source nothing. */
class RangeFinder {
  readonly #context: VerifyContext;
  readonly #target: VerifyTarget;
  #from: Uint8Array | null;
  #ahead: Range[] = [];
  #ended = false;
  #found = 0;
  /** Rows that a range may have: what seems to make a page. */
  rows: number;

  constructor(context: VerifyContext, target: VerifyTarget, from: Uint8Array | null) {
    this.#context = context;
    this.#target = target;
    this.#from = from;
    this.rows = Math.ceil(context.bounds.maxRows * FIRST_RANGE_SHARE);
  }

  /** The next range, or null behind the last, which has no end. */
  async next(): Promise<Range | null> {
    if (this.#ahead.length === 0 && !this.#ended) await this.#find();
    return this.#ahead.shift() ?? null;
  }

  async #find(): Promise<void> {
    const { pool, lanes } = this.#context;
    // The first ones tell how large rows are.
    const count = this.#found === 0 ? lanes : RANGES_AHEAD;
    const { rows } = this;
    const steps = Array.from({ length: count }, () => rows);
    const { keys, done } = await pool.read('keysAt', { ...this.#target, after: this.#from, steps });
    this.#ahead = keys.map((upTo, i) => ({
      from: i === 0 ? this.#from : keys[i - 1]!,
      upTo,
      rows,
    }));
    this.#from = keys.at(-1) ?? this.#from;
    this.#found += keys.length;
    if (!done) return;
    this.#ahead.push({ from: this.#from, upTo: null, rows });
    this.#ended = true;
  }
}

/** The page as it is kept until its turn: its rows were dealt with. */
function withoutRows(page: TakenPage): ComparedPage {
  return { ...page, batch: null, remove: [] } as TakenPage;
}

interface PendingRange {
  readonly result: Promise<RangeResult>;
  /** Fulfilled when the range is done or has failed; a failure is thrown when it is the range's turn. */
  readonly settled: Promise<void>;
  readonly isSettled: () => boolean;
}

function pendingRange(result: Promise<RangeResult>): PendingRange {
  let isSettled = false;
  const settle = () => {
    isSettled = true;
  };
  return { result, settled: result.then(settle, settle), isSettled: () => isSettled };
}

function base64(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : Buffer.from(bytes).toString('base64');
}

function bytesOf(text: string | null): Uint8Array | null {
  return text === null ? null : new Uint8Array(Buffer.from(text, 'base64'));
}
