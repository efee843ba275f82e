import type { HranaServer } from '../support/hrana/server.js';

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

export interface JsonAnswer {
  readonly status: number;
  readonly contentType: string | null;
  readonly text: string;
  /** The body as JSON; undefined when it is not. */
  readonly json: JsonPath;
}

/** Reads nested JSON without a type for every shape: a missing part is undefined. */
export class JsonPath {
  readonly value: unknown;

  constructor(value: unknown) {
    this.value = value;
  }

  at(...path: readonly (string | number)[]): unknown {
    let value = this.value;
    for (const key of path) {
      value =
        typeof value === 'object' && value !== null
          ? (value as Record<string | number, unknown>)[key]
          : undefined;
    }
    return value;
  }

  string(...path: readonly (string | number)[]): string {
    const value = this.at(...path);
    if (typeof value !== 'string') {
      throw new TypeError(`no string at ${path.join('.')} in ${JSON.stringify(this.value)}`);
    }
    return value;
  }
}

export async function post(
  server: HranaServer,
  path: string,
  body: Json | Uint8Array,
  headers: Readonly<Record<string, string>> = {},
): Promise<Response> {
  return fetch(server.httpUrl + path, {
    method: 'POST',
    headers,
    body: body instanceof Uint8Array ? Buffer.from(body) : JSON.stringify(body),
  });
}

export async function postJson(
  server: HranaServer,
  path: string,
  body: Json,
  headers?: Readonly<Record<string, string>>,
): Promise<JsonAnswer> {
  const response = await post(server, path, body, headers);
  const text = await response.text();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  return {
    status: response.status,
    contentType: response.headers.get('content-type'),
    text,
    json: new JsonPath(value),
  };
}

export const execute = (sql: string, extra: { [key: string]: Json } = {}): Json => ({
  type: 'execute',
  stmt: { sql, ...extra },
});

export const close: Json = { type: 'close' };

/** Runs statements in one pipeline and closes its stream. */
export async function run(server: HranaServer, ...sqls: readonly string[]): Promise<JsonAnswer> {
  const requests = [...sqls.map((sql) => execute(sql)), close];
  const answer = await postJson(server, '/v2/pipeline', { baton: null, requests });
  for (const [i, sql] of sqls.entries()) {
    if (answer.json.at('results', i, 'type') !== 'ok') {
      throw new Error(`${sql}: ${answer.text}`);
    }
  }
  return answer;
}

/** Fills a table `t (id, v)` with this many rows. */
export async function fill(server: HranaServer, rows: number, width = 20): Promise<void> {
  await run(
    server,
    'CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)',
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
     INSERT INTO t SELECT i, substr(hex(zeroblob(${width})) || i, -${width}) FROM n`,
  );
}
