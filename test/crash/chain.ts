import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'libsql';
import { openCache, readStatus, type StorageSyncOptions } from '../../src/index.js';
import type { Fault } from '../support/kill/fault.js';
import { runChild, type ChildEnd, type ChildOrder } from '../support/kill/run-child.js';
import { sourceRows, type SourceRow } from './cells.js';
import type { Scenario } from './scenarios.js';
import { readGeneration, type StoredGeneration } from './stored-generation.js';
import { TableModel } from './table-model.js';

interface Manifest {
  readonly live: number | null;
  readonly building: { readonly generation: number } | null;
}

type Source = ReadonlyMap<string, readonly SourceRow[]>;
type Models = ReadonlyMap<string, TableModel>;

/**
 * One cache that is synced, killed and synced again. After each kill it is held against what it must be: each
 * generation there is opens, is whole, and is as far as its checkpoints say.
 */
export class Chain implements AsyncDisposable {
  readonly #scenario: Scenario;
  readonly #dir: string;
  readonly #options: StorageSyncOptions;
  #source: Source = new Map();
  #round = 0;
  /** What each generation must hold. */
  readonly #models = new Map<number, Models>();
  #live: number | null = null;

  private constructor(scenario: Scenario, dir: string) {
    this.#scenario = scenario;
    this.#dir = dir;
    this.#options = {
      ...scenario.options,
      source: { url: `file:${join(dir, 'source.db')}` },
      cacheDir: join(dir, 'cache'),
    };
  }

  static async begin(scenario: Scenario): Promise<Chain> {
    const chain = new Chain(scenario, await mkdtemp(join(tmpdir(), 'storage-sync-crash-')));
    chain.#withSource((database) => scenario.create(database));
    if (scenario.published) {
      await chain.#completes('sync');
      chain.#changeSource();
    }
    return chain;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#dir, { recursive: true, force: true });
  }

  /** Runs one child that is to be killed, and checks what it leaves. A child that ended before its kill begins a new round. */
  async kill(fault: Fault | { readonly afterMs: number }): Promise<ChildEnd> {
    const end =
      'afterMs' in fault
        ? await runChild(this.#order(this.#scenario.mode, null), { killAfterMs: fault.afterMs })
        : await runChild(this.#order(this.#scenario.mode, fault));
    if (end.kind === 'killed') {
      await this.check();
      // A first sync that was killed after it had published is over.
      if (!this.#scenario.published && this.#live !== null) await this.finish();
    } else {
      await this.#checkCompleted(end);
      await this.#newRound();
    }
    return end;
  }

  /** Lets the sync end, and begins a new round. */
  async finish(): Promise<void> {
    await this.#completes(this.#scenario.mode);
    await this.#newRound();
  }

  /** Checks the cache as it lies there. */
  async check(): Promise<void> {
    const { cacheDir } = this.#options;
    const manifest = this.#manifest();
    const live = manifest?.live ?? null;
    for (const number of this.#generations()) {
      const generationDir = join(cacheDir, 'generations', String(number));
      const isKept = number === live || number === manifest?.building?.generation;
      // One that no manifest names is only a leftover; one without a file was not begun.
      if (!isKept || !existsSync(join(generationDir, 'data.mdb'))) continue;
      const stored = await readGeneration(generationDir);
      const models = this.#modelsOf(number);
      for (const [name, model] of models) {
        model.check(stored.tables.get(name), this.#source.get(name)!, stored.record?.sync);
      }
      if (number === live) this.#checkServed(stored, models, live);
    }
    this.#live = live;
    await this.#checkStatus(live);
    if (live !== null) await this.#checkReader(live);
  }

  async #completes(mode: 'sync' | 'rebuild'): Promise<void> {
    await this.#checkCompleted(await runChild(this.#order(mode, null)));
  }

  async #checkCompleted(end: ChildEnd): Promise<void> {
    assert.equal(end.kind, 'completed', JSON.stringify(end));
    if (end.kind !== 'completed') return;
    const { cacheDir } = this.#options;
    const target = end.report.generation!;
    const models = this.#modelsOf(target);
    let toRead = 0;
    for (const [name, model] of models) {
      assert.equal(
        end.report.tables[name]?.resumed,
        model.rowsKept > 0,
        `${name} resumes just when it was interrupted`,
      );
      toRead += this.#source.get(name)!.length - model.rowsKept;
    }
    assert.ok(
      end.rowsFetched <= toRead,
      `no row before the checkpoint is read again: ${end.rowsFetched} of ${toRead}`,
    );
    const stored = await readGeneration(join(cacheDir, 'generations', String(target)));
    for (const [name, model] of models) {
      model.checkComplete(stored.tables.get(name), this.#source.get(name)!);
    }
    this.#live = target;
    assert.deepEqual(this.#manifest(), { ...this.#manifest(), live: target, building: null });
    assert.deepEqual(this.#generations(), [target], 'only the served generation is kept');
    assert.deepEqual(
      readdirSync(cacheDir).filter((name) => name.endsWith('.tmp')),
      [],
      'no half-written files are left',
    );
    await this.check();
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
    const status = await readStatus(this.#options.cacheDir);
    assert.equal(status.holder, null, 'the lock ended with its holder');
    assert.equal(status.generation, live);
    assert.equal(status.state, live === null ? 'empty' : 'fresh', JSON.stringify(status));
  }

  async #checkReader(live: number): Promise<void> {
    await using cache = openCache(this.#options.cacheDir, { validateChecksums: true });
    assert.equal(cache.generation, live);
    for (const { name, rows } of cache.tables()) {
      let read = 0;
      for await (const _row of cache.table(name).stream()) read++;
      assert.equal(read, rows, `${name} is read whole`);
    }
  }

  async #newRound(): Promise<void> {
    if (this.#scenario.published) {
      this.#changeSource();
      return;
    }
    await rm(this.#options.cacheDir, { recursive: true });
    this.#models.clear();
    this.#live = null;
  }

  #changeSource(): void {
    this.#round++;
    this.#withSource((database) => this.#scenario.change(database, this.#round));
  }

  #withSource(use: (database: InstanceType<typeof Database>) => void): void {
    const database = new Database(join(this.#dir, 'source.db'));
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

  #order(mode: 'sync' | 'rebuild', fault: Fault | null): ChildOrder {
    return { mode, fault, options: this.#options, readerThreads: this.#scenario.readerThreads };
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
    const path = join(this.#options.cacheDir, 'manifest.json');
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Manifest) : null;
  }

  #generations(): number[] {
    const dir = join(this.#options.cacheDir, 'generations');
    return existsSync(dir) ? readdirSync(dir).map(Number) : [];
  }
}
