import { SourceError } from '../../errors.js';
import type { RawRow, Statement } from '../connection.js';
import { field, list, parseAnswer } from '../hrana-answer.js';
import type { HttpExchange } from './http-exchange.js';
import { readError, textOrNull } from './json-cursor.js';
import { jsonStatement, readJsonValue } from './json-values.js';
import { malformed } from './protocol-error.js';

/** Far above what any server that keeps to the protocol sends at once. */
export const MAX_ANSWER_BYTES = 64 * 1024 * 1024;
const PATH = 'v2/pipeline';

/**
 * A stream of Hrana 2 over HTTP in JSON: statements that run one after the other on one connection of the server's
 * (https://github.com/tursodatabase/libsql/blob/main/docs/HRANA_2_SPEC.md, "Hrana over HTTP"). Every server has it.
 */
export class PipelineStream {
  readonly #exchange: HttpExchange;
  #base: URL;
  #baton: string | null = null;
  /** Statements run one at a time: each needs the baton that the one before gave. */
  #last: Promise<unknown> = Promise.resolve();
  #isBroken = false;

  constructor(exchange: HttpExchange, base: URL) {
    this.#exchange = exchange;
    this.#base = base;
  }

  /** Runs statements in one request, one after the other, and gives the rows of each. All must succeed. */
  async run(statements: readonly Statement[], closes: boolean): Promise<RawRow[][]> {
    const turn = this.#last.then(async () => await this.#run(statements, closes));
    this.#last = turn.catch(() => undefined);
    return await turn;
  }

  /** Lets the server forget the stream. Does not wait for it, nor fail: it forgets by itself what nobody uses. */
  close(): void {
    void this.#last.then(async () => {
      if (this.#baton === null || this.#isBroken) return;
      await this.#send([{ type: 'close' }]).catch(() => undefined);
    });
  }

  async #run(statements: readonly Statement[], closes: boolean): Promise<RawRow[][]> {
    if (this.#isBroken) {
      throw new SourceError('SOURCE_UNAVAILABLE', 'The stream of statements broke off.');
    }
    const requests = statements.map((stmt) => ({ type: 'execute', stmt: jsonStatement(stmt) }));
    const results = await this.#send(closes ? [...requests, { type: 'close' }] : requests);
    const answers = statements.map((_, i) => {
      const result = results[i];
      if (field(result, 'type') === 'error') throw readError(field(result, 'error'));
      return rowsOf(result);
    });
    if (!closes && this.#baton === null) this.#isBroken = true;
    return answers;
  }

  async #send(requests: readonly object[]): Promise<readonly unknown[]> {
    const body = Buffer.from(JSON.stringify({ baton: this.#baton, requests }));
    const url = new URL(PATH, this.#base);
    try {
      const request = { url, contentType: 'application/json', body };
      const answer = parseAnswer(await this.#exchange.fetch(request, MAX_ANSWER_BYTES));
      this.#baton = textOrNull(answer, 'baton');
      this.#base = followBase(this.#base, textOrNull(answer, 'base_url'));
      return list(field(answer, 'results'));
    } catch (error) {
      this.#isBroken = true;
      throw error;
    }
  }
}

/** Where the next request of a stream goes: a server may name another place for it, but none without TLS instead of one with. */
export function followBase(from: URL, named: string | null): URL {
  if (named === null) return from;
  const to = URL.canParse(named) ? new URL(named) : null;
  const isHttp = to !== null && /^https?:$/.test(to.protocol);
  if (!isHttp || (from.protocol === 'https:' && to.protocol !== 'https:')) {
    throw malformed('it names a base URL where no request may go');
  }
  return to;
}

/** The rows of a statement's result. Their widths and numbers were looked at when the answer was parsed. */
function rowsOf(result: unknown): RawRow[] {
  const found = field(field(result, 'response'), 'result');
  const rows = field(found, 'rows');
  if (field(result, 'type') !== 'ok' || !Array.isArray(rows)) {
    throw malformed('a statement has no result');
  }
  return rows.map((row) => {
    if (!Array.isArray(row)) throw malformed('a row is no list');
    return row.map(readJsonValue);
  });
}
