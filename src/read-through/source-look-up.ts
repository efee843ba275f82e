import { randomUUID } from 'node:crypto';
import { OutageBreaker } from '../outage.js';
import type { EncodedPage, SourceRef } from '../pipeline/messages.js';
import type { WorkerPool } from '../pipeline/worker-pool.js';
import type { PageBounds, RejectedRow } from '../source/page.js';
import type { TablePlan } from '../source/plan.js';
import { recordsOf } from '../transform/batch.js';

/** What the source has of some keys, each as the latin1 text of its bytes. */
export interface FoundRows {
  /** The values of their records. */
  readonly rows: ReadonlyMap<string, Buffer>;
  /** Rows that cannot be cached. */
  readonly rejected: ReadonlyMap<string, RejectedRow>;
}

/** What asking has cost. */
export interface AskingCost {
  sourceRows: number;
  retries: number;
}

export interface LookUpSource {
  readonly pool: () => WorkerPool;
  /** The source, asked by a session. */
  readonly sourceRef: (session: string) => SourceRef;
  readonly bounds: PageBounds;
}

/** Connections that nobody used for so long are closed. */
const IDLE_MS = 10_000;

interface Lease {
  readonly session: string;
  users: number;
  retired: boolean;
}

/**
 * Asks the source for rows by key, in reader threads. A connection that failed is not used again; a source that keeps
 * failing is left alone for a while.
 */
export class SourceLookUp {
  readonly #source: LookUpSource;
  readonly #breaker = new OutageBreaker(
    'Ask again later: what is in the cache is served meanwhile.',
  );
  readonly #leases = new Set<Lease>();
  #lease: Lease | null = null;
  #idle: NodeJS.Timeout | null = null;

  constructor(source: LookUpSource) {
    this.#source = source;
  }

  /** @param cost counts what it costs, also where it fails. */
  async find(plan: TablePlan, keys: readonly Uint8Array[], cost: AskingCost): Promise<FoundRows> {
    const found = { rows: new Map<string, Buffer>(), rejected: new Map<string, RejectedRow>() };
    return await this.#breaker.run(async () => {
      const lease = this.#take();
      try {
        await this.#look(lease, plan, keys, found, cost);
        return found;
      } catch (error) {
        lease.retired = true;
        throw error;
      } finally {
        this.#giveBack(lease);
      }
    });
  }

  /** Cuts what is under way. */
  close(): void {
    if (this.#idle) clearTimeout(this.#idle);
    for (const lease of this.#leases) this.#end(lease);
  }

  async #look(
    lease: Lease,
    plan: TablePlan,
    keys: readonly Uint8Array[],
    found: { readonly rows: Map<string, Buffer>; readonly rejected: Map<string, RejectedRow> },
    cost: AskingCost,
  ): Promise<void> {
    const { pool, sourceRef, bounds } = this.#source;
    const source = sourceRef(lease.session);
    let position: Uint8Array | null = null;
    const rejected: RejectedRow[] = [];
    for (let done = false; !done;) {
      const page: EncodedPage = await pool().read('lookUp', {
        source,
        plan,
        keys,
        position,
        bounds,
      });
      cost.sourceRows += page.sourceRows;
      cost.retries += page.retries;
      rejected.push(...page.rejected);
      const arena = Buffer.from(page.batch.arena);
      for (const { keyStart, valueStart, end } of recordsOf(page.batch)) {
        const key = arena.toString('latin1', keyStart, valueStart);
        // A copy: the arena is much larger than what is kept of it.
        found.rows.set(key, Buffer.from(arena.subarray(valueStart, end)));
      }
      ({ position, done } = page);
    }
    if (rejected.length === 0) return;
    // Which keys they are of is not told: what was not found is looked up again, in ever smaller parts.
    const left = keys.filter((key) => !found.rows.has(textOf(key)));
    if (left.length === 1) found.rejected.set(textOf(left[0]!), rejected[0]!);
    if (left.length <= 1) return;
    const middle = Math.ceil(left.length / 2);
    await this.#look(lease, plan, left.slice(0, middle), found, cost);
    await this.#look(lease, plan, left.slice(middle), found, cost);
  }

  #take(): Lease {
    if (this.#idle) clearTimeout(this.#idle);
    this.#idle = null;
    if (this.#lease === null || this.#lease.retired) {
      this.#lease = { session: randomUUID(), users: 0, retired: false };
      this.#leases.add(this.#lease);
    }
    this.#lease.users++;
    return this.#lease;
  }

  #giveBack(lease: Lease): void {
    lease.users--;
    if (lease.users > 0) return;
    if (lease.retired) this.#end(lease);
    else if (lease === this.#lease) {
      if (this.#idle) clearTimeout(this.#idle);
      this.#idle = setTimeout(() => this.#end(lease), IDLE_MS).unref();
    }
  }

  #end(lease: Lease): void {
    this.#leases.delete(lease);
    if (this.#lease === lease) this.#lease = null;
    this.#source.pool().endSession(lease.session);
  }
}

/** A key as the text by which it is found again. */
export function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}
