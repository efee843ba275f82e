import { StorageSync, type OpenOptions } from '../../src/index.js';
import { changeDatabase } from '../support/databases.js';
import { TempDirectory } from '../support/temp.js';

/** A source of one table `t`, of so many rows of 400 bytes that all have one value, and a cache of it. */
export class Stage implements AsyncDisposable {
  readonly dir: TempDirectory;
  readonly file: string;
  readonly cacheDir: string;

  private constructor(dir: TempDirectory) {
    this.dir = dir;
    this.file = dir.join('source.db');
    this.cacheDir = dir.join('cache');
  }

  static async set(rows: number): Promise<Stage> {
    const stage = new Stage(await TempDirectory.make());
    changeDatabase(
      stage.file,
      `CREATE TABLE t (k INTEGER PRIMARY KEY, v);
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
       INSERT INTO t SELECT i, 'first' FROM n`,
    );
    stage.change('first');
    return stage;
  }

  /** Gives every row a value that begins like this. */
  change(value: string): void {
    changeDatabase(this.file, `UPDATE t SET v = '${value}' || printf('%.*c', 400, '-')`);
  }

  async open(options: Partial<OpenOptions> = {}): Promise<StorageSync> {
    return await StorageSync.open({
      source: { url: `file:${this.file}` },
      cacheDir: this.cacheDir,
      ...options,
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dir[Symbol.asyncDispose]();
  }
}
