import { once } from 'node:events';
import { startHranaServer } from '../test/support/hrana/server.js';
import type { DataServerSpec } from './data-server.js';

const { path, latencyMs, bytesPerSecond } = JSON.parse(process.argv[2] ?? '') as DataServerSpec;

// Answers are replayed, so that from the second round on the server costs next to nothing.
const server = await startHranaServer({
  file: path,
  latencyMs,
  bytesPerSecond: bytesPerSecond ?? Infinity,
  replayIdentical: true,
});
process.stdout.write(`${JSON.stringify({ url: server.httpUrl })}\n`);

process.stdin.resume();
await once(process.stdin, 'end');
await server.close();
