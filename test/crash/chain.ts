import assert from 'node:assert/strict';
import type { Fault } from '../support/kill/fault.js';
import { runChild, type ChildEnd, type ChildOrder } from '../support/kill/run-child.js';
import { CacheUnderTest } from './cache-under-test.js';
import type { Scenario } from './scenarios.js';

/** One cache that processes sync one after the other, each killed or failing; and what it must be after each. */
export class Chain implements AsyncDisposable {
  readonly #scenario: Scenario;
  readonly #cache: CacheUnderTest;

  private constructor(scenario: Scenario, cache: CacheUnderTest) {
    this.#scenario = scenario;
    this.#cache = cache;
  }

  /** @param cacheParent where to put the cache. Default: a temporary directory. */
  static async begin(scenario: Scenario, cacheParent?: string): Promise<Chain> {
    const cache = await CacheUnderTest.make(scenario, cacheParent);
    const chain = new Chain(scenario, cache);
    if (scenario.published) {
      await chain.#completes('sync');
      cache.changeSource();
    }
    return chain;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cache[Symbol.asyncDispose]();
  }

  /** Runs one child that is to be killed, and checks what it leaves. A child that ended before begins a new round. */
  async kill(fault: Fault | { readonly afterMs: number }): Promise<ChildEnd> {
    const { mode, published } = this.#scenario;
    const end =
      'afterMs' in fault
        ? await runChild(this.#order(mode, null), { killAfterMs: fault.afterMs })
        : await runChild(this.#order(mode, fault));
    if (end.kind === 'killed') {
      await this.#cache.check();
      // A first sync that was killed after it had published is over.
      if (!published && this.#cache.live !== null) await this.finish();
    } else {
      await this.#checkCompleted(end);
      await this.#newRound();
    }
    return end;
  }

  /** Runs one child under a shell prefix that makes it fail, and checks what it leaves. */
  async fail(shell: string): Promise<ChildEnd> {
    const end = await runChild(this.#order(this.#scenario.mode, null), { shell });
    if (end.kind === 'failed') await this.#cache.check();
    return end;
  }

  /** Lets the sync end, and begins a new round. */
  async finish(): Promise<void> {
    await this.#completes(this.#scenario.mode);
    await this.#newRound();
  }

  async #completes(mode: 'sync' | 'rebuild'): Promise<void> {
    await this.#checkCompleted(await runChild(this.#order(mode, null)));
  }

  async #checkCompleted(end: ChildEnd): Promise<void> {
    assert.equal(end.kind, 'completed', JSON.stringify(end));
    if (end.kind === 'completed') await this.#cache.checkCompleted(end.report, end.rowsFetched);
  }

  async #newRound(): Promise<void> {
    if (this.#scenario.published) this.#cache.changeSource();
    else await this.#cache.removeCache();
  }

  #order(mode: 'sync' | 'rebuild', fault: Fault | null): ChildOrder {
    const { readerThreads } = this.#scenario;
    return { mode, fault, options: this.#cache.options, readerThreads };
  }
}
