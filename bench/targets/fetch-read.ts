import type { Target } from './target.js';

const PAGE_ROWS = 1000;

interface HranaValue {
  readonly type: string;
  readonly value?: string;
}

interface PipelineAnswer {
  readonly results: readonly [
    { readonly response: { readonly result: { readonly rows: readonly HranaValue[][] } } },
  ];
}

/** A limit: `fetch` and `JSON.parse` of the pages that the hand-written loop reads, thrown away. */
export const fetchRead: Target = {
  prepare: ({ url, tables }) => ({
    run: async () => {
      let count = 0;
      for (const table of tables) {
        const keyAt = table.columns.indexOf(table.key);
        const order = `ORDER BY ${table.key} LIMIT ${PAGE_ROWS}`;
        let last: HranaValue | undefined;
        for (;;) {
          const where = last === undefined ? '' : ` WHERE ${table.key} > ?`;
          const rows = await query(
            url,
            `SELECT * FROM ${table.name}${where} ${order}`,
            last === undefined ? [] : [last],
          );
          count += rows.length;
          last = rows.at(-1)?.[keyAt];
          if (rows.length < PAGE_ROWS) break;
        }
      }
      return count;
    },
    countKept: () => null,
    close: () => Promise.resolve(),
  }),
};

async function query(
  url: string,
  sql: string,
  args: readonly HranaValue[],
): Promise<readonly HranaValue[][]> {
  const response = await fetch(`${url}/v2/pipeline`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      requests: [{ type: 'execute', stmt: { sql, args, want_rows: true } }, { type: 'close' }],
    }),
  });
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  const answer = (await response.json()) as PipelineAnswer;
  return answer.results[0].response.result.rows;
}
