/** What a matched exchange suffers. */
export type FaultAction =
  /** Waits, then goes on: other faults and the answer follow. */
  | { readonly kind: 'latency'; readonly ms: number }
  /** Resets the connection instead of answering; `after` lets the statements run first. */
  | { readonly kind: 'reset'; readonly when?: 'before' | 'after' }
  /** Sends this many bytes of the body, then resets the connection. */
  | { readonly kind: 'reset-after-bytes'; readonly bytes: number }
  /** Sends this many bytes of a chunked body, then ends it as if it were whole. */
  | { readonly kind: 'end-after-bytes'; readonly bytes: number }
  /** Never answers, or stops in the body after this many bytes. */
  | { readonly kind: 'stall'; readonly afterBytes?: number }
  /** An HTTP error of some middle box; `after` lets the statements run first. */
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly retryAfter?: string;
      readonly contentType?: string;
      readonly body?: string;
      readonly when?: 'before' | 'after';
    }
  /** A body with status 200 that cannot be decoded. */
  | { readonly kind: 'bad-json' }
  | { readonly kind: 'bad-protobuf' }
  /** WebSocket only: closes the connection instead of answering. */
  | { readonly kind: 'close'; readonly code?: number; readonly reason?: string };

export type FaultTransport = 'http' | 'ws' | 'ws-upgrade';

/** Which exchanges a fault befalls, and how often. Everything left out matches everything. */
export interface FaultSpec {
  readonly action: FaultAction;
  readonly transport?: FaultTransport;
  /** Matched against the path of the request, such as `/v2/pipeline`. */
  readonly path?: RegExp;
  /** Matched against each SQL text of the request. */
  readonly sql?: RegExp;
  /** Matching exchanges to let pass first. Default 0. */
  readonly skip?: number;
  /** After the skipped ones, only every k-th. Default 1. */
  readonly every?: number;
  /** How often it strikes before it is spent; Infinity is until cleared. Default 1. */
  readonly times?: number;
}

export interface Exchange {
  readonly transport: FaultTransport;
  readonly path: string;
  readonly sqls: readonly string[];
}

/** The faults one exchange suffers: its delay, and at most one action. */
export interface Strike {
  readonly latencyMs: number;
  readonly action: Exclude<FaultAction, { readonly kind: 'latency' }> | undefined;
}

interface Rule {
  readonly spec: FaultSpec;
  seen: number;
  fired: number;
}

/** The fault rules in force, in the order they were given. */
export class FaultRules {
  readonly #rules = new Map<number, Rule>();
  readonly #firedOfCleared = new Map<number, number>();
  #nextId = 1;
  #fired = 0;

  get fired(): number {
    return this.#fired;
  }

  add(spec: FaultSpec): number {
    const id = this.#nextId++;
    this.#rules.set(id, { spec, seen: 0, fired: 0 });
    return id;
  }

  remove(id: number): void {
    const rule = this.#rules.get(id);
    if (rule !== undefined) {
      this.#firedOfCleared.set(id, rule.fired);
      this.#rules.delete(id);
    }
  }

  clear(): void {
    for (const id of this.#rules.keys()) {
      this.remove(id);
    }
  }

  firedBy(id: number): number {
    return this.#rules.get(id)?.fired ?? this.#firedOfCleared.get(id) ?? 0;
  }

  resetCount(): void {
    this.#fired = 0;
  }

  strike(exchange: Exchange): Strike {
    let latencyMs = 0;
    let action: Strike['action'];
    for (const rule of this.#rules.values()) {
      // A second action waits for the next exchange: it is not used up by this one.
      if (rule.spec.action.kind !== 'latency' && action !== undefined) {
        continue;
      }
      if (!matches(rule.spec, exchange) || !isDue(rule)) {
        continue;
      }
      rule.fired++;
      this.#fired++;
      if (rule.spec.action.kind === 'latency') {
        latencyMs += rule.spec.action.ms;
      } else {
        ({ action } = rule.spec as { action: NonNullable<Strike['action']> });
      }
    }
    return { latencyMs, action };
  }
}

function matches(spec: FaultSpec, exchange: Exchange): boolean {
  return (
    (spec.transport === undefined || spec.transport === exchange.transport) &&
    (spec.path === undefined || exchange.path.search(spec.path) >= 0) &&
    (spec.sql === undefined || exchange.sqls.some((sql) => sql.search(spec.sql ?? '') >= 0))
  );
}

function isDue(rule: Rule): boolean {
  const { skip = 0, every = 1, times = 1 } = rule.spec;
  if (rule.fired >= times) {
    return false;
  }
  const ordinal = rule.seen++ - skip;
  return ordinal >= 0 && ordinal % every === every - 1;
}
