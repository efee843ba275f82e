import {
  BrokenCircuitError,
  circuitBreaker,
  CircuitState,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleWhen,
  type CircuitBreakerPolicy,
} from 'cockatiel';
import { SourceError } from './errors.js';
import type { SyncReport } from './report.js';

/** Failures in a row after which a source is left alone for a while. */
const FAILURES = 5;
/** How long, in milliseconds: at first, and at most after it doubled again and again. */
const PAUSE_MS = 1000;
const MAX_PAUSE_MS = 60_000;

/** Whether a source could not be reached, or did not answer in time; not, when it refused. */
export function isOutage(error: unknown): error is SourceError {
  return (
    error instanceof SourceError &&
    (error.code === 'SOURCE_UNAVAILABLE' || error.code === 'SOURCE_TIMEOUT')
  );
}

/**
 * Leaves a source alone that keeps failing: a circuit breaker (https://martinfowler.com/bliki/CircuitBreaker.html).
 *
 * | state     | a sync                              | succeeds | fails for an outage         | time                     |
 * |-----------|-------------------------------------|----------|-----------------------------|--------------------------|
 * | closed    | asks the source                     | closed   | open after five in a row    |                          |
 * | open      | does not ask                        |          |                             | half open after a pause  |
 * | half open | asks the source, one sync at a time | closed   | open, with a longer pause   |                          |
 *
 * A failure that is no outage says nothing of the source: it changes no state. Who has a pace of its own asks in any state, and
 * closes the circuit by an answer.
 */
export class OutageBreaker {
  #policy = closedCircuit();
  readonly #hint: string;

  /** @param hint what to do while the circuit is open. */
  constructor(hint = 'Sync again later.') {
    this.#hint = hint;
  }

  /**
   * @param isPaced whether the source is asked by somebody who leaves it alone long enough as it is.
   * @throws {SourceError} `SOURCE_UNAVAILABLE`, without asking, while the circuit is open.
   */
  async run<T>(work: () => Promise<T>, isPaced = false): Promise<T> {
    if (isPaced && this.#policy.state === CircuitState.Open) {
      const result = await work();
      this.#policy = closedCircuit();
      return result;
    }
    try {
      return await this.#policy.execute(work);
    } catch (error) {
      if (!(error instanceof BrokenCircuitError)) throw error;
      throw new SourceError(
        'SOURCE_UNAVAILABLE',
        `The source failed ${FAILURES} times in a row or more, and is not asked again for a while.`,
        { cause: error, hint: this.#hint },
      );
    }
  }
}

function closedCircuit(): CircuitBreakerPolicy {
  return circuitBreaker(handleWhen(isOutage), {
    breaker: new ConsecutiveBreaker(FAILURES),
    halfOpenAfter: new ExponentialBackoff({ initialDelay: PAUSE_MS, maxDelay: MAX_PAUSE_MS }),
  });
}

/** What is told of a sync that the source was not there for. */
export function skippedReport(
  error: SourceError,
  generation: number,
  durationMs: number,
): SyncReport {
  return {
    mode: 'skipped',
    durationMs,
    stale: true,
    generation,
    tables: {},
    sourceRowsRead: 0,
    retries: 0,
    transport: 'none',
    warnings: [`The source is unavailable, and the cache is served as it is. ${error.message}`],
    validation: { passed: true, checks: [] },
    outage: { code: error.code, message: error.message },
  };
}
