import {
  decorrelatedJitterGenerator,
  DelegateBackoff,
  handleWhen,
  retry,
  type IRetryBackoffContext,
  type RetryPolicy as CockatielRetryPolicy,
} from 'cockatiel';
import { SourceError } from '../errors.js';

export interface RetryOptions {
  /** Further tries after the first. */
  readonly retries: number;
  readonly retryInitialMs: number;
  readonly retryMaxMs: number;
}

type JitterState = [number, number];

/**
 * Tries again what may succeed the second time, as {@link SourceError.retryable} says, with decorrelated jitter
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). A server's `Retry-After` is a lower
 * bound on the wait, itself bounded by `retryMaxMs`.
 */
export class RetryPolicy {
  readonly #policy: CockatielRetryPolicy;
  #retries = 0;

  constructor({ retries, retryInitialMs, retryMaxMs }: RetryOptions) {
    const jitter = {
      initialDelay: retryInitialMs,
      maxDelay: retryMaxMs,
      exponent: 2,
      generator: decorrelatedJitterGenerator,
    };
    const backoff = new DelegateBackoff<IRetryBackoffContext<unknown>, JitterState>(
      (context, state) => {
        const [delay, next] = decorrelatedJitterGenerator(state, jitter);
        const failure = 'error' in context.result ? context.result.error : undefined;
        const asked = failure instanceof SourceError ? (failure.retryAfterMs ?? 0) : 0;
        return { delay: Math.min(Math.max(delay, asked), retryMaxMs), state: next };
      },
    );
    this.#policy = retry(
      handleWhen((error) => error instanceof SourceError && error.retryable),
      { maxAttempts: retries, backoff },
    );
    this.#policy.onRetry(() => {
      this.#retries++;
    });
  }

  /** How often something was tried again so far. */
  get retries(): number {
    return this.#retries;
  }

  async run<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return await this.#policy.execute(() => {
      signal.throwIfAborted();
      return attempt();
    }, signal);
  }
}
