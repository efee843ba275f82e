import { copyFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import Database from 'libsql';
import { openChangeLog } from '../../src/index.js';
import { DATA_SHAPES } from '../data/data-file.js';
import type { Part } from '../part.js';
import type { Target } from './target.js';

type NativeDatabase = InstanceType<typeof Database>;

/** Other rows than those that are in the file. */
const SEED = 4711;
/** Of the rows written in one way, those that are in transactions of one, and of a hundred. */
const SHARE_ALONE = 0.05;
const SHARE_BY_HUNDRED = 0.25;
const BULK_ROWS = 10_000;

/** The writes of an application to a file without a change log. */
export const plainWrites: Target = writesOf(false);

/** The same to a file with one. */
export const loggedWrites: Target = writesOf(true);

/**
 * Inserts rows, updates them and deletes them, a third of the trial's rows each, in transactions of one row and of a
 * hundred and by statements of 10,000. The write-ahead log is folded in between the parts, outside of the clock, and
 * commits are not waited for (`synchronous = normal`): that would hide what else they cost.
 */
function writesOf(isLogged: boolean): Target {
  return {
    prepare: async ({ url, tables: [source], directory }) => {
      const path = join(directory, 'source.db');
      copyFileSync(fileURLToPath(url), path);
      const [{ table }] = DATA_SHAPES.records.parts as readonly [
        (typeof DATA_SHAPES.records.parts)[0],
      ];
      if (isLogged) {
        await using log = await openChangeLog({ url: pathToFileURL(path).href });
        await log.install([table.name]);
      }
      const database = new Database(path);
      database.exec(
        `PRAGMA journal_mode = wal; PRAGMA synchronous = normal; PRAGMA wal_autocheckpoint = 0`,
      );
      const before = source!.rows;
      const rows = Math.floor(before / 3);
      fillStaging(database, table.columns, rows);
      const measured = new MeasuredWrites(database, path);
      const count = (): number =>
        (database.prepare(`SELECT count(*) AS n FROM ${table.name}`).get() as { n: number }).n;
      return {
        run: () => {
          for (const kind of kindsOf(table.name, table.columns)) measured.write(kind, rows);
          // A third may not be whole: the trial's rows are what is counted.
          return Promise.resolve(3 * rows + (before % 3));
        },
        countKept: count,
        parts: () => [...measured.parts, measured.growth(rows)],
        close: () => {
          database.close();
          return Promise.resolve();
        },
      };
    },
  };
}

/** A way to write: by one statement for each row, and by one for many. Rows are numbered from 1 in the staging table. */
interface WriteKind {
  readonly name: string;
  readonly one: string;
  readonly bulk: string;
}

function kindsOf(table: string, columns: readonly string[]): readonly WriteKind[] {
  const list = columns.join(', ');
  const key = columns[0]!;
  const staged = `FROM temp.staging WHERE n`;
  return [
    {
      name: 'INSERT',
      one: `INSERT INTO ${table} SELECT ${list} ${staged} = ?`,
      bulk: `INSERT INTO ${table} SELECT ${list} ${staged} BETWEEN ? AND ?`,
    },
    {
      name: 'UPDATE',
      one: `UPDATE ${table} SET revision = revision + 1 WHERE ${key} = (SELECT ${key} ${staged} = ?)`,
      bulk: `UPDATE ${table} SET revision = revision + 1 WHERE ${key} IN (SELECT ${key} ${staged} BETWEEN ? AND ?)`,
    },
    {
      name: 'DELETE',
      one: `DELETE FROM ${table} WHERE ${key} = (SELECT ${key} ${staged} = ?)`,
      bulk: `DELETE FROM ${table} WHERE ${key} IN (SELECT ${key} ${staged} BETWEEN ? AND ?)`,
    },
  ];
}

function fillStaging(database: NativeDatabase, columns: readonly string[], rows: number): void {
  const [{ table }] = DATA_SHAPES.records.parts as readonly [(typeof DATA_SHAPES.records.parts)[0]];
  database.exec(`CREATE TEMP TABLE staging (n INTEGER PRIMARY KEY, ${columns.join(', ')}); BEGIN`);
  const marks = columns.map(() => '?').join(', ');
  const insert = database.prepare(`INSERT INTO temp.staging VALUES (?, ${marks})`);
  for (let n = 1; n <= rows; n++) insert.run([n, ...table.row(SEED, n)]);
  database.exec('COMMIT');
}

class MeasuredWrites {
  readonly parts: Part[] = [];
  readonly #database: NativeDatabase;
  readonly #path: string;
  readonly #bytesBefore: number;

  constructor(database: NativeDatabase, path: string) {
    this.#database = database;
    this.#path = path;
    this.#foldIn();
    this.#bytesBefore = statSync(path).size;
  }

  write({ name, one, bulk }: WriteKind, rows: number): void {
    const alone = Math.ceil(SHARE_ALONE * rows);
    const byHundred = alone + Math.ceil(SHARE_BY_HUNDRED * rows);
    const single = this.#database.prepare(one);
    const many = this.#database.prepare(bulk);
    this.#measure(`${name}, 1 a transaction`, alone, () => {
      for (let n = 1; n <= alone; n++) single.run(n);
    });
    this.#measure(`${name}, 100 a transaction`, byHundred - alone, () => {
      for (let from = alone + 1; from <= byHundred; from += 100) {
        this.#database.exec('BEGIN');
        for (let n = from; n < from + 100 && n <= byHundred; n++) single.run(n);
        this.#database.exec('COMMIT');
      }
    });
    this.#measure(`${name}, 10,000 a statement`, rows - byHundred, () => {
      for (let from = byHundred + 1; from <= rows; from += BULK_ROWS) {
        many.run(from, Math.min(rows, from + BULK_ROWS - 1));
      }
    });
  }

  /** By how much the file has grown, which is as large as it was with all rows in it. */
  growth(rows: number): Part {
    this.#foldIn();
    const bytes = statSync(this.#path).size - this.#bytesBefore;
    return { name: 'growth of the file', rows, ms: null, cpuMs: null, bytes };
  }

  #measure(name: string, rows: number, work: () => void): void {
    const cpuBefore = process.cpuUsage();
    const start = performance.now();
    work();
    const ms = performance.now() - start;
    const { user, system } = process.cpuUsage(cpuBefore);
    // What was written for these rows: pages go to the write-ahead log first.
    const bytes = statSync(`${this.#path}-wal`).size;
    this.#foldIn();
    this.parts.push({ name, rows, ms, cpuMs: (user + system) / 1000, bytes });
  }

  #foldIn(): void {
    this.#database.exec('PRAGMA wal_checkpoint(truncate)');
  }
}
