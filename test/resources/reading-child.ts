import { writeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { openCache } from '../../src/cache/reader.js';

/**
 * A process that holds a snapshot of a cache and looks at all rows of its table `t` again and again: every row must
 * have the value that the first one had. It says so, and goes on until it is ended.
 */
const cache = openCache(process.argv[2]!, { validateChecksums: true });
const snapshot = cache.snapshot();
const whole = () => {
  const rows = [...snapshot.table('t').range()];
  const values = new Set(rows.map((row) => row['v']));
  return `${rows.length} rows, ${values.size} values, ${String([...values][0]).slice(0, 8)}\n`;
};
writeSync(1, whole());
process.stdin.on('data', () => writeSync(1, whole()));
await sleep(600_000);
