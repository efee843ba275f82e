import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { TargetName } from './targets.js';

/** A case may take this long, and the preparation of a target too. */
const CASE_TIMEOUT_MS = 20_000;
/** A heap that a case of a few kilobytes has to do with. */
const HEAP_MB = 384;

export interface CaseRange {
  readonly target: TargetName;
  readonly seed: number;
  readonly from: number;
  readonly cases: number;
}

/** Runs cases in a process of their own. Returns what went wrong, with how to see it again, or null. */
export async function runTarget({ target, seed, from, cases }: CaseRange): Promise<string | null> {
  const path = fileURLToPath(new URL('./child.js', import.meta.url));
  const args = [
    '--expose-gc',
    `--max-old-space-size=${HEAP_MB}`,
    path,
    target,
    seed,
    from,
    cases,
  ].map(String);
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let last = 'preparation';
  let done = false;
  let errors = '';
  let hung = false;
  const stop = () => {
    hung = true;
    child.kill('SIGKILL');
  };
  let timer = setTimeout(stop, CASE_TIMEOUT_MS);
  child.stdout.on('data', (chunk: Buffer) => {
    clearTimeout(timer);
    timer = setTimeout(stop, CASE_TIMEOUT_MS);
    for (const line of chunk.toString().trimEnd().split('\n')) {
      if (line === 'done') done = true;
      else last = line;
    }
  });
  child.stderr.on('data', (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-6000);
  });
  const end = await new Promise<string>((resolve) => {
    child.on('close', (code, signal) => resolve(String(signal ?? code)));
  });
  clearTimeout(timer);
  if (done && end === '0') return null;
  const what = hung ? `took more than ${CASE_TIMEOUT_MS} ms` : `ended the process (${end})`;
  const again = `npm run fuzz -- --target ${target} --seed ${seed} --from ${last} --cases 1`;
  return `${target}, case ${last}: ${what}\n${errors}\nTo see it again: ${again}`;
}
