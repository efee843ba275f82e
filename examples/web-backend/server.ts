/**
 * A web backend (Fastify) with the cache embedded: requests are answered from LMDB in this process, while `watch` keeps
 * the cache true and rebuilds run beside them. Run it against a database of your own with
 *
 *     npm run build && TURSO_DATABASE_URL=file:shop.db node dist/examples/web-backend/server.js
 */
import { parseArgs } from 'node:util';
import Fastify from 'fastify';
import { CacheError, StorageSync } from 'storage-sync';
import { products } from './products.js';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '3000' },
    cache: { type: 'string', default: '.storage-sync' },
    interval: { type: 'string', default: '60000' },
  },
});

const storage = await StorageSync.open({
  source: {
    url: process.env['TURSO_DATABASE_URL'] ?? 'file:shop.db',
    authToken: process.env['TURSO_AUTH_TOKEN'],
  },
  cacheDir: values.cache,
  tables: [products],
});
// Syncs at once, then every minute. Until the first sync is complete, reads throw CACHE_EMPTY.
const watch = storage.watch({ intervalMs: Number(values.interval) });

const app = Fastify();

app.setErrorHandler(async (error, _request, reply) => {
  const isEmpty = error instanceof CacheError && error.code === 'CACHE_EMPTY';
  return await reply.code(isEmpty ? 503 : 500).send({ error: (error as Error).message });
});

app.get<{ Params: { sku: string } }>('/products/:sku', async ({ params }, reply) => {
  const product = storage.cache.table(products).get(params.sku);
  return product ?? (await reply.code(404).send({ error: 'There is no such product.' }));
});

app.get<{ Querystring: { after?: string; limit?: number } }>(
  '/products',
  {
    schema: {
      querystring: {
        type: 'object',
        properties: {
          after: { type: 'string' },
          limit: { type: 'integer', minimum: 1, maximum: 100, default: 20 },
        },
      },
    },
  },
  async ({ query: { after, limit = 20 } }) => {
    const range = after === undefined ? { limit } : { gt: after, limit };
    return [...storage.cache.table(products).range(range)];
  },
);

app.get('/health', async (_request, reply) => {
  const { state, generation, ageMs } = await storage.status();
  return await reply.code(generation === null ? 503 : 200).send({ state, generation, ageMs });
});

// A real backend would ask who it is that wants this.
app.post('/admin/rebuild', async () => {
  const { durationMs, generation } = await watch.rebuild();
  return { durationMs, generation };
});

const address = await app.listen({ port: Number(values.port), host: '127.0.0.1' });
console.log(`listening on ${address}`);

const stop = async () => {
  await app.close();
  await storage.close();
};
process.once('SIGTERM', () => void stop());
process.once('SIGINT', () => void stop());
