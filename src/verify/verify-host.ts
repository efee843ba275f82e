import { threadId } from 'node:worker_threads';
import { hexOf } from '../cache/damage-notes.js';
import { lmdbError, type BytesDatabase, type Environment } from '../cache/environment.js';
import { recordIsSound } from '../cache/record.js';
import type { Kernels } from '../load/kernel/kernel.js';
import { RowKernel } from '../load/kernel/row-kernel.js';
import type { HeldCaches } from '../pipeline/held-caches.js';
import type { GenerationRef, SourceRef, SpareMemory } from '../pipeline/messages.js';
import { validateMemory } from '../memory/validation.js';
import type { ValidationCheck } from '../report.js';
import { openGeneration } from '../pipeline/writer-host.js';
import type { SourceConnection } from '../source/connection.js';
import type { TablePlan } from '../source/plan.js';
import { RowTally } from '../source/row-tally.js';
import type { Checksum } from '../transform/checksum.js';
import { compareCount } from './compare-count.js';
import { comparePage } from './compare-page.js';
import { compareStored } from './compare-stored.js';
import { checkEntries, countEntries, danglingEntries } from './index-check.js';
import { checkNewest } from './newest-check.js';
import { keyValues } from './row-keys.js';
import { lookAt, type LookTarget } from './second-look.js';
import { SeenKeys } from './seen-keys.js';
import type { InspectedTable, VerifyTarget, VerifyTasks } from './tasks.js';

type Request<Name extends keyof VerifyTasks> = VerifyTasks[Name]['request'];
type Response<Name extends keyof VerifyTasks> = Promise<VerifyTasks[Name]['response']>;

/** Runs work on the connection of a session, which is cut when the session ends. */
export type OnConnection = <T>(
  source: SourceRef,
  work: (connection: SourceConnection, signal: AbortSignal, retries: () => number) => Promise<T>,
) => Promise<T>;

/** Keys that one task gives back, about. */
const KEYS = 1000;

/** What a reader thread does for a verify: holds the source against the cache, which it opens for as long as that takes. */
export class VerifyHost {
  readonly #checksum: Checksum;
  readonly #on: OnConnection;
  readonly #kernels: Kernels;
  readonly #environments = new Map<string, Environment>();
  readonly #held: HeldCaches;
  #spare: SpareMemory | undefined;

  constructor(checksum: Checksum, on: OnConnection, kernels: Kernels, held: HeldCaches) {
    this.#held = held;
    this.#checksum = checksum;
    this.#kernels = kernels;
    this.#on = on;
  }

  inspectCache({ source, generation }: Request<'inspectCache'>): Response<'inspectCache'> {
    return this.#reading({ source, generation }, (environment) => {
      environment.refresh();
      const tables = environment.catalog().tables.map((table): InspectedTable => {
        return {
          table,
          state: environment.tableState(table.id),
          entries: entryCount(environment.rows(table.id)),
          quarantined: entryCount(environment.quarantine(table.id)),
          indexes: table.indexNumbers.map((number) => environment.indexState(table.id, number)),
          indexEntries: entryCount(environment.indexes(table.id)),
        };
      });
      const { lastTransaction: transaction } = environment;
      return { tables, record: environment.syncRecord(), transaction };
    });
  }

  keysAt(request: Request<'keysAt'>): Response<'keysAt'> {
    const { tableId, plan, after, steps } = request;
    return this.#reading(request, (environment) => {
      environment.refresh();
      const rows = environment.rows(tableId);
      const keys: Uint8Array[] = [];
      let last = after;
      for (const step of steps) {
        const key = keyBehind(rows, plan, last, step);
        if (key === null) return { keys, done: true };
        keys.push(key);
        last = key;
      }
      return { keys, done: false };
    });
  }

  damagedKeys(request: Request<'damagedKeys'>): Response<'damagedKeys'> {
    const { tableId, keys } = request;
    return this.#reading(request, (environment) => {
      environment.refresh();
      const rows = environment.rows(tableId);
      const damaged: Uint8Array[] = [];
      const absent = new Set<string>();
      for (const key of keys) {
        const value = rows.get(Buffer.from(key));
        if (value === undefined) absent.add(hexOf(key));
        else if (!recordIsSound(this.#checksum, key, value, value.length)) damaged.push(key);
      }
      return { damaged, displaced: absent.size > 0 && hasOneOf(rows, absent) };
    });
  }

  async comparePage(request: Request<'comparePage'>): Response<'comparePage'> {
    return await this.#looking(request, async (target, retries) => {
      const spare = this.#spare;
      this.#spare = undefined;
      const compared = await comparePage(target, request, spare);
      const isLarge = compared.spare.arena.byteLength > 2 * request.bounds.maxBytes;
      if (!isLarge) this.#spare = compared.spare;
      return { ...compared.page, retries: retries() };
    });
  }

  async compareStored(request: Request<'compareStored'>): Response<'compareStored'> {
    const { range, bounds } = request;
    return await this.#looking(request, async (target) => {
      return await this.#kernels.use(async (kernel) => {
        const found = await compareStored(target, new RowKernel(kernel), range, bounds);
        return { rows: found && { ...found, thread: threadId } };
      });
    });
  }

  async lookAt(request: Request<'lookAt'>): Response<'lookAt'> {
    return await this.#looking(request, async (target, retries) => {
      const { candidates, onlyExtra } = request;
      const found = await lookAt(target, request, candidates, onlyExtra);
      return { ...found, retries: retries() };
    });
  }

  async compareCount(request: Request<'compareCount'>): Response<'compareCount'> {
    return await this.#looking(request, async (target) => await compareCount(target, request.log));
  }

  async validate(request: Request<'validate'>): Response<'validate'> {
    const { source, generation, tables, preset, bounds } = request;
    const checks: ValidationCheck[] = [];
    const tally = new RowTally();
    for (const { tableId, plan } of tables) {
      if (plan.limit === null) continue;
      const asked = { source, generation, tableId, plan };
      checks.push(
        await this.#looking(asked, async (target) => await checkNewest(target, bounds, tally)),
      );
    }
    if (preset === undefined) return { checks, sourceRows: tally.rows };
    return await this.#on(source, async (connection, signal) => {
      const environment = this.#environment(source.session, generation);
      const query = tally.over(connection.query);
      const found = await validateMemory(environment, this.#checksum, query, tables, signal);
      return { checks: [...checks, ...found], sourceRows: tally.rows };
    });
  }

  async unseenKeys(request: Request<'unseenKeys'>): Response<'unseenKeys'> {
    const { sums, reduced, after } = request;
    return await this.#looking(request, async ({ rows, environment, signal }) => {
      environment.refresh();
      const seen = new SeenKeys(sums, this.#checksum);
      if (!reduced) await seen.reduce(rows, signal);
      return { sums, ...(await seen.suspects(rows, after, KEYS, signal)) };
    });
  }

  checkEntries(request: Request<'checkEntries'>): Response<'checkEntries'> {
    const { table, after } = request;
    return this.#reading(request, (environment) =>
      checkEntries(environment, table, this.#checksum, after),
    );
  }

  danglingEntries(request: Request<'danglingEntries'>): Response<'danglingEntries'> {
    const { table, after } = request;
    return this.#reading(request, (environment) =>
      danglingEntries(environment, table, this.#checksum, after),
    );
  }

  countEntries(request: Request<'countEntries'>): Response<'countEntries'> {
    return this.#reading(request, (environment) => ({
      entries: countEntries(environment, request.table),
    }));
  }

  /** Closes what a session had open. */
  async endSession(session: string): Promise<void> {
    const environment = this.#environments.get(session);
    this.#environments.delete(session);
    this.#spare = undefined;
    if (!environment) return;
    try {
      await environment.close();
    } finally {
      this.#held.closed();
    }
  }

  /** Work on both sides. */
  async #looking<T>(
    request: VerifyTarget,
    work: (target: LookTarget, retries: () => number) => Promise<T>,
  ): Promise<T> {
    const { source, generation, tableId, plan } = request;
    return await this.#on(source, async (connection, signal, retries) => {
      const environment = this.#environment(source.session, generation);
      const rows = environment.rows(tableId);
      const target = { connection, environment, rows, checksum: this.#checksum, plan, signal };
      try {
        return await work(target, retries);
      } catch (error) {
        throw lmdbError(error, generation.dir);
      }
    });
  }

  /** Work on the cache alone. */
  #reading<T>(
    { source, generation }: Pick<VerifyTarget, 'source' | 'generation'>,
    work: (environment: Environment) => T,
  ): Promise<T> {
    return this.#on(source, (_, signal) => {
      signal.throwIfAborted();
      try {
        return Promise.resolve(work(this.#environment(source.session, generation)));
      } catch (error) {
        throw lmdbError(error, generation.dir);
      }
    });
  }

  #environment(session: string, generation: GenerationRef): Environment {
    let environment = this.#environments.get(session);
    if (!environment) {
      environment = openGeneration(generation);
      this.#environments.set(session, environment);
      this.#held.opened();
    }
    return environment;
  }
}

/** Whether one of these keys is there. Damage in a key, or before it, may hide it from a search. */
function hasOneOf(rows: BytesDatabase, keys: ReadonlySet<string>): boolean {
  for (const key of rows.getKeys({})) if (keys.has(hexOf(key))) return true;
  return false;
}

/** The key so many keys behind another; the next one behind that where a row's scan could not begin there. */
function keyBehind(
  rows: BytesDatabase,
  plan: TablePlan,
  after: Uint8Array | null,
  step: number,
): Uint8Array | null {
  let start = after;
  for (let offset = step - 1; ; offset = 0) {
    const from = start === null ? {} : { start: Buffer.from(start), exclusiveStart: true };
    const [key] = rows.getKeys({ ...from, offset, limit: 1 });
    if (key === undefined) return null;
    start = new Uint8Array(key);
    const values = keyValues(plan, start);
    if (values !== null && !values.values.includes(null)) return start;
  }
}

function entryCount(database: BytesDatabase): number {
  return (database.getStats() as { entryCount: number }).entryCount;
}
