import { mkdtempSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { inspect } from 'node:util';
import { Random } from '../support/random.js';
import type { TargetName } from './targets.js';
import { TARGETS } from './targets.js';

/** Runs cases of one target, and says before each which one it is: what ended the process is then known. */
const [name, seed, from, cases] = process.argv.slice(2) as [TargetName, string, string, string];
/** The pipe takes no more while its reader is behind: wait for that, for what is said must be said before the case. */
function say(text: string): void {
  for (;;) {
    try {
      writeSync(1, `${text}\n`);
      return;
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error) || error.code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

/** The driver lets go of a closed database with its statements alone: ten thousand of them take minutes to end with. */
const CASES_PER_COLLECTION = 250;
async function collect(): Promise<void> {
  globalThis.gc?.();
  await setImmediate();
}

const directory = mkdtempSync(join(tmpdir(), 'storage-sync-fuzz-'));
process.on('exit', () => rmSync(directory, { recursive: true, force: true }));
const random = new Random(Number(seed));
const target = await TARGETS[name].make(directory);
for (let number = Number(from); number < Number(from) + Number(cases); number++) {
  say(String(number));
  if (number % CASES_PER_COLLECTION === 0) await collect();
  try {
    await target.run(random.fork(`${name} ${number}`));
  } catch (error) {
    writeSync(2, `${inspect(error, { depth: 4 })}\n`);
    process.exit(1);
  }
}
await target[Symbol.asyncDispose]();
say('done');
