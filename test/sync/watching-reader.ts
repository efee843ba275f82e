import { fork } from 'node:child_process';
import { setImmediate } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker } from 'node:worker_threads';
import {
  openCache,
  type CacheSnapshot,
  type SourceRow,
  type TableReader,
} from '../../src/index.js';

/*
 * Reads the table `t` in every way there is, over and over. A row's value in a column is the column's name, a dash, and
 * the row's key: so a row that is decoded by another definition than its own shows.
 */

/** What a watching reader has seen. */
export interface Watched {
  readonly looks: number;
  /** The definitions that snapshots had, each as the columns' names. */
  readonly shapes: readonly string[];
  /** The definitions that a table reader met that is as old as this one. */
  readonly followed: readonly string[];
  readonly problems: readonly string[];
}

export interface WatchingReader {
  /** Waits until the reader has met this definition. */
  meets(shape: string): Promise<void>;
  stop(): Promise<Watched>;
}

/** Starts a reader in another thread or process. @param rows how many rows the table has at every moment. */
export function startWatching(
  kind: 'thread' | 'process',
  cacheDir: string,
  rows: number,
): WatchingReader {
  const path = fileURLToPath(import.meta.url);
  const args = ['watch', cacheDir, String(rows)];
  const peer = kind === 'thread' ? new Worker(path, { argv: args }) : fork(path, args);
  let latest: Watched = { looks: 0, shapes: [], followed: [], problems: [] };
  let ended: string | null = null;
  const failed = (): Error => new Error(`the reader ended: ${ended}`);
  peer.on('message', (told: Watched) => (latest = told));
  peer.on('error', (error: Error) => (ended = error.message));
  const exit = new Promise<void>((resolve) => {
    peer.once('exit', (code) => {
      ended ??= String(code);
      resolve();
    });
  });
  return {
    meets: async (shape) => {
      const met = () => latest.shapes.includes(shape) && latest.followed.includes(shape);
      while (!met() && latest.problems.length === 0) {
        if (ended !== null) throw failed();
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    },
    stop: async () => {
      if (ended !== null) throw failed();
      if (peer instanceof Worker) peer.postMessage('stop');
      else peer.send('stop');
      await exit;
      return latest;
    },
  };
}

class Watch {
  readonly #cacheDir: string;
  readonly #rows: number;
  readonly #shapes = new Set<string>();
  readonly #followed = new Set<string>();
  readonly #problems: string[] = [];
  #looks = 0;
  stopped = false;

  constructor(cacheDir: string, rows: number) {
    this.#cacheDir = cacheDir;
    this.#rows = rows;
  }

  get told(): Watched {
    return {
      looks: this.#looks,
      shapes: [...this.#shapes],
      followed: [...this.#followed],
      problems: this.#problems.slice(0, 5),
    };
  }

  async run(tell: (told: Watched) => void): Promise<void> {
    const cache = openCache(this.#cacheDir, { validateChecksums: true });
    const table = cache.table('t');
    const slow = this.#readSlowly(table);
    while (!this.stopped) {
      try {
        this.#look(table);
        using snapshot = cache.snapshot();
        this.#lookInto(snapshot);
        await setImmediate();
        this.#lookInto(snapshot);
      } catch (error) {
        this.#problems.push(error instanceof Error ? (error.stack ?? error.message) : 'an error');
      }
      this.#looks++;
      tell(this.told);
      await setImmediate();
    }
    await slow;
    await cache.close();
  }

  /** Reads whose rows may each be of another definition. */
  #look(table: TableReader<SourceRow>): void {
    const keys = Array.from({ length: 5 }, () => String(Math.floor(Math.random() * this.#rows)));
    for (const key of keys) this.#check(table.get(key), key);
    table.getMany(keys).forEach((row, i) => this.#check(row, keys[i]!));
    this.#checkAll('range', [...table.range()]);
    this.#checkAll('index', [...table.rangeByIndex('by_b')]);
    this.#followed.add(table.columns.join());
    if (table.count() !== this.#rows) this.#problems.push(`${table.count()} rows are counted`);
  }

  #lookInto(snapshot: CacheSnapshot): void {
    const table = snapshot.table('t');
    const shape = table.columns.join();
    const all = [...table.range()];
    this.#checkAll('range of a snapshot', all);
    this.#checkAll('index of a snapshot', [...table.rangeByIndex('by_b')]);
    const strange = all.find((row) => Object.keys(row).join() !== shape);
    if (strange) this.#problems.push(`${JSON.stringify(strange)} is not (${shape})`);
    this.#shapes.add(shape);
  }

  /** A stream goes on with what it began with, however long it takes. */
  async #readSlowly(table: TableReader<SourceRow>): Promise<void> {
    while (!this.stopped) {
      const rows: SourceRow[] = [];
      try {
        for await (const row of table.stream({ rowsPerTurn: 3 })) rows.push(row);
        this.#checkAll('stream', rows);
      } catch (error) {
        this.#problems.push(String(error));
      }
    }
  }

  #checkAll(what: string, rows: readonly SourceRow[]): void {
    const shapes = new Set(rows.map((row) => Object.keys(row).join()));
    if (shapes.size !== 1) this.#problems.push(`${what}: rows of ${[...shapes].join(' and ')}`);
    if (rows.length !== this.#rows) this.#problems.push(`${what}: ${rows.length} rows`);
    for (const row of rows) this.#check(row, String(row['k']));
  }

  #check(row: SourceRow | undefined, key: string): void {
    const wrong = row
      ? Object.entries(row).find(([name, value]) => name !== 'k' && value !== `${name}-${key}`)
      : 'no row';
    if (wrong) this.#problems.push(`the row ${key}: ${JSON.stringify(row)}`);
  }
}

const [, , role, dir, rows] = process.argv;
if (role === 'watch' && dir !== undefined) {
  const watch = new Watch(dir, Number(rows));
  const onMessage = (): void => {
    watch.stopped = true;
  };
  if (isMainThread) process.on('message', onMessage);
  else parentPort!.on('message', onMessage);
  await watch.run((told) => {
    if (isMainThread) process.send!(told);
    else parentPort!.postMessage(told);
  });
  if (isMainThread) process.disconnect();
  else parentPort!.close();
}
