import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDatabase } from '../support/databases.js';
import {
  openCache,
  readStatus,
  type CacheReader,
  type StorageSyncOptions,
  type SyncReport,
} from '../../src/index.js';
import { sourceRows, type SourceRow } from './cells.js';
import type { Scenario, SourceDatabase } from './scenarios.js';
import { readGeneration, type StoredGeneration } from './stored-generation.js';
import { TableModel } from './table-model.js';

interface Manifest {
  readonly live: number | null;
  readonly building: { readonly generation: number } | null;
}

type Models = ReadonlyMap<string, TableModel>;

/**
 * A source, a cache of it, and what that cache must be. After whatever happened to a sync, the cache is held against
 * it: each generation there is opens, is whole, and is as far as its checkpoints say.
 */
export class CacheUnderTest implements AsyncDisposable {
  readonly options: StorageSyncOptions;
  readonly #scenario: Scenario;
  readonly #dir: string;
  #source: ReadonlyMap<string, readonly SourceRow[]> = new Map();
  #round = 0;
  /** What each generation must hold. */
  readonly #models = new Map<number, Models>();
  #live: number | null = null;
  #reader: CacheReader | null = null;

  private constructor(scenario: Scenario, dir: string, cacheParent: string) {
    this.#scenario = scenario;
    this.#dir = dir;
    this.options = {
      ...scenario.options,
      source: { url: `file:${join(dir, 'source.db')}` },
      cacheDir: join(cacheParent, 'cache'),
    };
  }

  /** @param cacheParent where to put the cache. Default: beside the source, in a temporary directory. */
  static async make(scenario: Scenario, cacheParent?: string): Promise<CacheUnderTest> {
    const dir = await mkdtemp(join(tmpdir(), 'storage-sync-crash-'));
    const made = new CacheUnderTest(scenario, dir, cacheParent ?? dir);
    made.withSource((database) => scenario.create(database));
    return made;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#reader?.close();
    await rm(this.#dir, { recursive: true, force: true });
  }

  /** The generation that was served when the cache was last checked, or null. */
  get live(): number | null {
    return this.#live;
  }

  /** Rows of all tables of the source. */
  get sourceRows(): number {
    return [...this.#source.values()].reduce((sum, rows) => sum + rows.length, 0);
  }

  /** Rows that an interrupted sync had read when the cache was last checked. */
  get rowsKept(): number {
    return [...this.#models.values()]
      .flatMap((models) => [...models.values()])
      .reduce((sum, model) => sum + model.rowsKept, 0);
  }

  /** Changes the source as the scenario does. Only while no sync is interrupted. */
  changeSource(): void {
    this.#round++;
    this.withSource((database) => this.#scenario.change(database, this.#round));
  }

  withSource(use: (database: SourceDatabase) => void): void {
    const database = openDatabase(join(this.#dir, 'source.db'));
    try {
      use(database);
      this.#source = new Map(
        this.#scenario.tables.map(({ name, columns, from, key }) => [
          name,
          sourceRows(database, columns, from, key),
        ]),
      );
    } finally {
      database.close();
    }
  }

  /** Removes the cache. */
  async removeCache(): Promise<void> {
    await rm(this.options.cacheDir, { recursive: true });
    this.#models.clear();
    this.#live = null;
  }

  /** Checks the cache as it lies there, with no sync under way. */
  async check(): Promise<void> {
    const manifest = this.#manifest();
    const live = manifest?.live ?? null;
    for (const number of this.#generations()) {
      const generationDir = this.#generationDir(number);
      const isKept = number === live || number === manifest?.building?.generation;
      // One that no manifest names is only a leftover; one without a file was not begun.
      if (!isKept || !existsSync(join(generationDir, 'data.mdb'))) continue;
      const stored = await readGeneration(generationDir);
      const models = this.#modelsOf(number);
      for (const [name, model] of models) {
        model.check(stored.tables.get(name), this.#source.get(name)!, number !== live);
      }
      if (number === live) this.#checkServed(stored, models, live);
    }
    this.#live = live;
    await this.#checkStatus(live);
    if (live !== null) await this.#checkReader(live);
  }

  /**
   * Checks the cache after a completed sync: it equals the source.
   *
   * @param rowsFetched rows that the sync had from the source: none that an interrupted sync had before.
   */
  async checkCompleted(report: SyncReport, rowsFetched: number): Promise<void> {
    const target = report.generation!;
    const models = this.#modelsOf(target);
    let toRead = 0;
    for (const [name, model] of models) {
      assert.equal(
        report.tables[name]?.resumed,
        model.rowsKept > 0,
        `${name} resumes just when it was interrupted`,
      );
      toRead += this.#source.get(name)!.length - model.rowsKept;
    }
    assert.ok(
      rowsFetched <= toRead,
      `no row before the checkpoint is read again: ${rowsFetched} of ${toRead}`,
    );
    const stored = await readGeneration(this.#generationDir(target));
    for (const [name, model] of models) {
      model.checkComplete(stored.tables.get(name), this.#source.get(name)!);
    }
    const manifest = this.#manifest();
    assert.equal(manifest?.live, target, 'the completed generation is served');
    assert.equal(manifest?.building, null);
    assert.deepEqual(this.#generations(), [target], 'only the served generation is kept');
    assert.deepEqual(
      readdirSync(this.options.cacheDir).filter((name) => name.endsWith('.tmp')),
      [],
      'no half-written files are left',
    );
    this.#live = target;
    await this.check();
  }

  /**
   * Checks that what is served is whole, and equals the source as it is now if `equals`. For a source that was changed
   * while a sync was interrupted: what the checkpoints should say then is not known.
   */
  async checkServedNow(equals: boolean): Promise<void> {
    const live = this.#manifest()?.live ?? null;
    assert.ok(live !== null, 'something is served');
    const stored = await readGeneration(this.#generationDir(live));
    for (const spec of this.#scenario.tables) {
      const table = stored.tables.get(spec.name);
      const model = new TableModel(spec);
      model.checkCounts(table!);
      if (equals) model.checkComplete(table, this.#source.get(spec.name)!);
    }
  }

  /** A generation is served only once it was complete. */
  #checkServed(stored: StoredGeneration, models: Models, live: number): void {
    assert.ok(stored.record, 'what is served was completed once');
    if (live === this.#live) return;
    for (const [name, model] of models) {
      model.checkComplete(stored.tables.get(name), this.#source.get(name)!);
    }
  }

  async #checkStatus(live: number | null): Promise<void> {
    const status = await readStatus(this.options.cacheDir);
    assert.equal(status.holder, null, 'the lock ended with its holder');
    assert.equal(status.generation, live);
    const served = status.failedSyncs > 0 ? 'stale' : 'fresh';
    assert.equal(status.state, live === null ? 'empty' : served, JSON.stringify(status));
  }

  async #checkReader(live: number): Promise<void> {
    const { cacheDir } = this.options;
    if (!this.#scenario.readerStays) {
      await using reader = openCache(cacheDir, { validateChecksums: true });
      await checkReads(reader, live);
      return;
    }
    this.#reader ??= openCache(cacheDir, { validateChecksums: true });
    await checkReads(this.#reader, live);
  }

  #modelsOf(generation: number): Models {
    let models = this.#models.get(generation);
    if (!models) {
      models = new Map(this.#scenario.tables.map((spec) => [spec.name, new TableModel(spec)]));
      this.#models.set(generation, models);
    }
    return models;
  }

  #manifest(): Manifest | null {
    const path = join(this.options.cacheDir, 'manifest.json');
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Manifest) : null;
  }

  #generations(): number[] {
    const dir = join(this.options.cacheDir, 'generations');
    return existsSync(dir) ? readdirSync(dir).map(Number) : [];
  }

  #generationDir(number: number): string {
    return join(this.options.cacheDir, 'generations', String(number));
  }
}

async function checkReads(reader: CacheReader, live: number): Promise<void> {
  assert.equal(reader.generation, live, 'the reader reads what is served');
  for (const { name, rows } of reader.tables()) {
    let read = 0;
    for await (const _row of reader.table(name).stream()) read++;
    assert.equal(read, rows, `${name} is read whole`);
  }
}
