import { writeSync } from 'node:fs';
import { openChangeLog } from '../../src/index.js';
import type { LogChangeOrder } from './log-change.js';

/** Changes a log, in as many transactions as there may be. */
const { file, kind, all } = JSON.parse(process.argv[2]!) as LogChangeOrder;

await using log = await openChangeLog({ url: `file:${file}`, retryInitialMs: 5 });
writeSync(1, 'started\n');
if (kind === 'compact') await log.compact({ all, chunkRows: 1 });
else {
  await log.uninstall();
  await log.install();
}
