import assert from 'node:assert/strict';
import { StorageSyncError } from '../../../src/errors.js';
import type { HttpExchange } from '../../../src/source/hrana/http-exchange.js';
import { PipelineStream } from '../../../src/source/hrana/pipeline.js';
import { HTTP_CODECS } from '../../support/hrana/http-codec.js';
import type { StreamResult } from '../../support/hrana/protocol.js';
import { mutateBytes, mutateText } from '../mutate.js';
import type { Target } from '../target.js';

const ROWS = [
  [1n, 'text', Uint8Array.of(0, 255)],
  [2n ** 63n - 1n, 1.5, null],
];
/** As a source gives them: integers are numbers where a number holds them exactly. */
const READ = [[1, ...ROWS[0]!.slice(1)], ROWS[1]];
const BASE = new URL('http://fuzz.invalid');

/** Answers to statements by pipeline, through the stream that runs them. */
export function wirePipeline(): Promise<Target> {
  const stmt = {
    cols: [1, 2, 3].map((each) => ({ name: `c${each}`, decltype: null })),
    rows: ROWS,
    affectedRowCount: 0,
    lastInsertRowid: null,
    replicationIndex: null,
    rowsRead: 2,
    rowsWritten: 0,
    queryDurationMs: 0,
  };
  const result: StreamResult = { type: 'ok', response: { type: 'execute', result: stmt } };
  const answer = { baton: 'baton', baseUrl: null, results: [result] };
  const body = Buffer.from(HTTP_CODECS.json.pipeline(answer));
  return Promise.resolve({
    async run(random) {
      const isWhole = random.chance(0.05);
      const mutated = isWhole
        ? body
        : random.chance(0.4)
          ? mutateBytes(random, body)
          : mutateText(random, JSON.parse(body.toString()));
      const exchange = { fetch: () => Promise.resolve(mutated) } as unknown as HttpExchange;
      const stream = new PipelineStream(exchange, BASE);
      try {
        const answers = await stream.run([{ sql: 'SELECT 1' }], random.chance(0.5));
        if (isWhole) assert.deepEqual(answers, [READ]);
        for (const cell of answers.flat(2)) assertValue(cell);
      } catch (error) {
        assert.ok(error instanceof StorageSyncError, error as Error);
        assert.ok(!isWhole, error);
      }
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  });
}

function assertValue(cell: unknown): void {
  if (typeof cell === 'bigint') assert.equal(BigInt.asIntN(64, cell), cell);
  else if (typeof cell === 'number') assert.ok(Number.isFinite(cell));
  else assert.ok(cell === null || typeof cell === 'string' || cell instanceof Uint8Array);
}
