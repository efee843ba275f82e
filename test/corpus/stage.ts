import {
  openChangeLog,
  StorageSync,
  type StorageSyncOptions,
  type SyncOptions,
  type SyncReport,
  type WorkerPool,
} from '../../src/index.js';
import { changeDatabase, type NativeDatabase } from '../support/databases.js';
import { startHranaServer, type HranaServer } from '../support/hrana/server.js';
import { TempDirectory } from '../support/temp.js';

/** How a source is reached. */
export const WAYS = ['file', 'http', 'ws'] as const;
export type Way = (typeof WAYS)[number];

/** `WITH n(i)` of the numbers 1 to `count`, for an `INSERT … SELECT … FROM n`. */
export const numbers = (count: number) =>
  `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})`;

export interface StageOptions {
  readonly build: string;
  readonly way?: Way;
  /** Installs the change log. */
  readonly captured?: boolean;
  readonly server?: { readonly maxResponseBytes?: number };
  readonly sync?: Omit<StorageSyncOptions, 'source' | 'cacheDir'>;
}

/** A source, a server in front of it where it is reached over one, and the place of a cache. */
export class Stage implements AsyncDisposable {
  readonly dir: TempDirectory;
  readonly file: string;
  readonly server: HranaServer | null;
  readonly options: StorageSyncOptions;

  private constructor(
    dir: TempDirectory,
    file: string,
    server: HranaServer | null,
    options: StorageSyncOptions,
  ) {
    this.dir = dir;
    this.file = file;
    this.server = server;
    this.options = options;
  }

  static async make(wanted: StageOptions): Promise<Stage> {
    const { build, way = 'file', captured = false, server: limits, sync } = wanted;
    const dir = await TempDirectory.make();
    const file = dir.join('source.db');
    changeDatabase(file, `PRAGMA journal_mode = WAL; ${build}`);
    if (captured) {
      await using log = await openChangeLog({ url: `file:${file}` });
      await log.install();
    }
    const server = way === 'file' ? null : await startHranaServer({ file, ...limits });
    const url = way === 'file' ? `file:${file}` : way === 'http' ? server!.httpUrl : server!.wsUrl;
    return new Stage(dir, file, server, {
      ...sync,
      source: { url },
      cacheDir: dir.join('cache'),
    });
  }

  change(change: string | ((db: NativeDatabase) => void)): void {
    changeDatabase(this.file, change);
  }

  async sync(pool: WorkerPool, how: SyncOptions = {}): Promise<SyncReport> {
    await using storage = await StorageSync.open({ ...this.options, pool });
    return await storage.sync(how);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server?.close();
    await this.dir[Symbol.asyncDispose]();
  }
}
