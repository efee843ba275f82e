import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openCache, openChangeLog, type CacheReader, type VerifyReport } from '../../src/index.js';
import { startHranaServer } from '../support/hrana/server.js';
import { Random } from '../support/random.js';
import { TempDirectory } from '../support/temp.js';
import { SoakSource } from './soak-source.js';

export interface SoakOptions {
  readonly durationMs: number;
  readonly roundsPerSecond: number;
  readonly way: 'file' | 'http';
  readonly seed: number;
  /** Told of each look at the process. */
  readonly onSample?: (sample: Sample) => void;
}

/** What a look at the process of the watch saw. */
export interface Sample {
  readonly atMs: number;
  readonly anonMb: number;
  readonly threads: number;
  readonly files: number;
}

export interface SoakReport {
  readonly durationMs: number;
  readonly rounds: number;
  readonly failedRounds: number;
  readonly transactions: number;
  readonly rowsWritten: number;
  readonly reads: number;
  readonly samples: readonly Sample[];
}

const COMMAND = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const TOKEN = 'soak';
const COMPACT_EVERY_MS = 5000;
const WRITE_PAUSE_MS = 5;

/**
 * A `storage-sync watch` under constant writes: a process follows the change log of a source at several rounds a second,
 * while the log is compacted and this process reads the cache. In the end nothing may be lost, and the process must have
 * stayed as it was.
 *
 * @throws {AssertionError} when a change is lost, a read fails, a deep verify finds a difference, or memory, threads or
 *   files grew.
 */
export async function soak(options: SoakOptions): Promise<SoakReport> {
  await using dir = await TempDirectory.make();
  const file = dir.join('source.db');
  using source = new SoakSource(file, new Random(options.seed));
  const log = await openChangeLog({ url: `file:${file}` });
  await log.install();
  await using server = options.way === 'http' ? await startHranaServer({ file }) : null;
  const cacheDir = dir.join('cache');
  await using watch = await WatchProcess.start([
    `--source=${server?.httpUrl ?? `file:${file}`}`,
    `--cache=${cacheDir}`,
    `--interval=${Math.round(1000 / options.roundsPerSecond)}ms`,
    '--log-level=warn',
  ]);
  await watch.ask('sync');
  await using reader = openCache(cacheDir, { validateChecksums: true });
  const random = new Random(options.seed + 1);

  const samples: Sample[] = [];
  const begun = performance.now();
  const passed = () => performance.now() - begun;
  const sampleEveryMs = Math.max(250, options.durationMs / 200);
  let compactedAt = 0;
  let sampledAt = 0;
  let reads = 0;
  while (passed() < options.durationMs) {
    source.write();
    reads += readSome(reader, random);
    if (passed() - compactedAt > COMPACT_EVERY_MS) {
      compactedAt = passed();
      await log.compact();
    }
    if (passed() - sampledAt > sampleEveryMs) {
      sampledAt = passed();
      const sample = { atMs: Math.round(passed()), ...watch.look() };
      samples.push(sample);
      options.onSample?.(sample);
    }
    await sleep(WRITE_PAUSE_MS);
  }
  await log.close();

  await watch.ask('sync');
  source.compare(reader);
  const verified = (await watch.ask('verify', { level: 'deep' })) as VerifyReport;
  assert.deepEqual([verified.left, verified.complete], [0, true], JSON.stringify(verified.tables));
  const { rounds, failedRounds } = await watch.status();
  assert.equal(failedRounds, 0);
  refuseGrowth(samples);
  assert.equal(await watch.stop(), 0);
  const { transactions, rowsWritten } = source;
  const durationMs = Math.round(passed());
  return { durationMs, rounds, failedRounds, transactions, rowsWritten, reads, samples };
}

function readSome(reader: CacheReader, random: Random): number {
  let reads = 0;
  for (const name of SoakSource.TABLES) {
    const table = reader.table(name);
    for (let i = 0; i < 20; i++) {
      table.get(random.int(0, SoakSource.MAX_ID));
      reads++;
    }
    for (const row of table.range({ limit: 5 })) assert.ok(row['id'] !== undefined);
  }
  return reads;
}

/** Until then code is compiled, and heaps come to their size. */
const WARM_UP_MS = 45_000;
/** What a process may come to hold more of afterwards. */
const ALLOWED_MB = 16;
const ALLOWED_SHARE = 0.15;
/** What it may hold at any time. */
const MOST = { anonMb: 320, threads: 24, files: 160 };

function refuseGrowth(samples: readonly Sample[]): void {
  const warm = samples.filter(({ atMs }) => atMs > WARM_UP_MS);
  const fifth = Math.floor(warm.length / 5);
  for (const figure of ['anonMb', 'threads', 'files'] as const) {
    const all = samples.map((each) => each[figure]);
    assert.ok(Math.max(...all) <= MOST[figure], `${figure}: ${Math.max(...all)}`);
    if (fifth < 5) continue;
    const of = (some: readonly Sample[]) => median(some.map((each) => each[figure]));
    const before = of(warm.slice(0, fifth));
    const after = of(warm.slice(-fifth));
    const allowed = figure === 'anonMb' ? ALLOWED_MB + ALLOWED_SHARE * before : 8;
    assert.ok(after - before <= allowed, `${figure} grew from ${before} to ${after}`);
  }
}

export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

/** The command, and the port on which it is asked for things. */
class WatchProcess implements AsyncDisposable {
  readonly #process;
  readonly #url: string;

  private constructor(child: ReturnType<typeof spawn>, url: string) {
    this.#process = child;
    this.#url = url;
  }

  static async start(args: readonly string[]): Promise<WatchProcess> {
    const child = spawn(process.execPath, [COMMAND, 'watch', '--port', '0', '--json', ...args], {
      env: { ...process.env, STORAGE_SYNC_WATCH_TOKEN: TOKEN },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const url = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stdout.setEncoding('utf8').on('data', (part: string) => {
        text += part;
        const told = /"url":\s*"(\S+)"/.exec(text);
        if (told) resolve(told[1]!);
      });
      child.once('exit', (code) => reject(new Error(`the watch ended with ${code}`)));
    });
    return new WatchProcess(child, url);
  }

  async ask(job: 'sync' | 'verify', body: object = {}): Promise<unknown> {
    const response = await fetch(new URL(`${job}?wait=1`, this.#url), {
      method: 'POST',
      headers: { Authorization: `Bearer ${TOKEN}` },
      body: JSON.stringify(body),
    });
    const answer: unknown = await response.json();
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  }

  async status(): Promise<{ readonly rounds: number; readonly failedRounds: number }> {
    const response = await fetch(new URL('status.json', this.#url));
    return (await response.json()) as { rounds: number; failedRounds: number };
  }

  /** Looks at the process as Linux tells of it: see proc(5). */
  look(): Omit<Sample, 'atMs'> {
    const status = readFileSync(`/proc/${this.#process.pid}/status`, 'utf8');
    const figure = (name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status)![1]);
    return {
      anonMb: Math.round(figure('RssAnon') / 1024),
      threads: figure('Threads'),
      files: readdirSync(`/proc/${this.#process.pid}/fd`).length,
    };
  }

  async stop(): Promise<number | null> {
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGTERM');
    const [code] = (await ended) as [number | null];
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, 'exit');
    this.#process.kill('SIGKILL');
    await ended;
  }
}
