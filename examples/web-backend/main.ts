/**
 * Does a web backend feel a rebuild? Makes a shop of a million products, starts `server.ts` as a process of its own, and
 * sends it requests at a constant rate: first while nothing else happens, then while the whole cache is built anew in the
 * server's process. Run it with `npm run build && node dist/examples/web-backend/main.js`.
 */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { load, type Latencies } from './load.js';
import { makeShop } from './products.js';

const { values } = parseArgs({
  options: {
    products: { type: 'string', default: '1000000' },
    rate: { type: 'string', default: '500' },
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '5' },
  },
});
const products = Number(values.products);
const requestsPerSecond = Number(values.rate);
const idleMs = 1000 * Number(values.seconds);

const directory = await mkdtemp(join(tmpdir(), 'storage-sync-example-'));
const shop = `file:${join(directory, 'shop.db')}`;
console.log(`making a shop of ${products} products`);
await makeShop(shop, products);

const server = fork(
  fileURLToPath(new URL('./server.js', import.meta.url)),
  ['--port', '0', '--cache', join(directory, 'cache'), '--interval', '3600000'],
  {
    env: { ...process.env, TURSO_DATABASE_URL: shop },
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  },
);
try {
  const [line] = (await once(server.stdout!, 'data')) as [Buffer];
  const origin = /http:\S+/.exec(line.toString())![0];
  while (!(await fetch(`${origin}/health`)).ok) await sleep(100);

  const common = { origin, products, requestsPerSecond };
  // The first requests compile code.
  await load({ ...common, until: sleep(2000) });
  for (let round = 1; round <= Number(values.rounds); round++) {
    const idle = await load({ ...common, until: sleep(idleMs) });
    const rebuild = fetch(`${origin}/admin/rebuild`, { method: 'POST' });
    const beside = await load({ ...common, until: rebuild });
    const { durationMs } = (await (await rebuild).json()) as { durationMs: number };
    console.log(`round ${round}, a rebuild of ${durationMs} ms`);
    console.log(`  idle           ${told(idle)}`);
    console.log(`  with a rebuild ${told(beside)}: p99 ${(beside.p99 / idle.p99).toFixed(2)}x`);
  }
} finally {
  server.kill('SIGTERM');
  await once(server, 'exit');
  await rm(directory, { recursive: true, force: true });
}

function told({ requests, failures, p50, p99, max }: Latencies): string {
  const times = [p50, p99, max].map((each) => each.toFixed(2));
  return `${requests} requests, ${failures} failed, p50 ${times[0]}, p99 ${times[1]}, max ${times[2]} ms`;
}
