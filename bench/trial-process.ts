import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { SourceTable } from './data/data-file.js';
import type { Figures } from './figures.js';
import type { Part } from './part.js';
import { readProcessMemory } from './process-memory.js';
import { clearDirectory, scratchDirectory } from './scratch.js';
import type { TargetProgram } from './targets/target-table.js';
import type { TrialRunResult, TrialRunSpec } from './trial-run.js';

const MEMORY_SAMPLE_EVERY_MS = 20;
const LONGEST_RUN_MS = 60 * 60_000;
const RUN = 'run-';

export interface TrialRunRequest {
  readonly program: TargetProgram;
  readonly url: string;
  readonly tables: readonly SourceTable[];
  /** Where the process writes a CPU profile for each of its threads. */
  readonly profileDirectory?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Runs a target once, in a process and a directory of its own.
 *
 * @throws {Error} when the process fails, or when rows are missing at the end.
 */
export async function runTrialProcess(
  request: TrialRunRequest,
): Promise<{ readonly figures: Figures; readonly parts: readonly Part[] }> {
  const runs = scratchDirectory('runs');
  clearDirectory(runs, (name) => name.startsWith(RUN));
  const directory = mkdtempSync(join(runs, RUN));
  try {
    const { program, url, tables } = request;
    const spec: TrialRunSpec = { program, context: { url, tables, directory } };
    const { result, peakAnonBytes } = await runProcess(spec, request);
    refuseMissingRows(program, tables, result);
    const figures: Figures = {
      rows: result.rows,
      wallMs: result.wallMs,
      rowsPerSecond: (result.rows / result.wallMs) * 1000,
      cpuUsPerRow: result.cpuUs / result.rows,
      peakRssBytes: result.peakRssBytes - result.idleRssBytes,
      peakAnonBytes:
        peakAnonBytes === null || result.idleAnonBytes === null
          ? null
          : peakAnonBytes - result.idleAnonBytes,
      loopDelayP99Ms: result.loopDelayP99Ms,
      loopDelayMaxMs: result.loopDelayMaxMs,
      diskBytes: bytesUnder(directory),
      sourceRows: result.sourceRows,
      readPauseMs: result.readPauseMs,
      otherCores: result.otherCpuUs / (1000 * result.wallMs),
    };
    return { figures, parts: result.parts };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function runProcess(
  spec: TrialRunSpec,
  { profileDirectory, signal }: TrialRunRequest,
): Promise<{ result: TrialRunResult; peakAnonBytes: number | null }> {
  const script = fileURLToPath(new URL('./run-trial.js', import.meta.url));
  const profiling =
    profileDirectory === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profileDirectory}`];
  const child = spawn(process.execPath, [...profiling, script, JSON.stringify(spec)], {
    stdio: ['ignore', 'pipe', 'inherit'],
    signal,
    timeout: LONGEST_RUN_MS,
  });

  // From outside, so that a busy event loop is seen too and none is disturbed.
  let peakAnonBytes: number | null = null;
  const sampling = setInterval(() => {
    const memory = child.pid === undefined ? null : readProcessMemory(child.pid);
    if (memory) peakAnonBytes = Math.max(peakAnonBytes ?? 0, memory.anonymousBytes);
  }, MEMORY_SAMPLE_EVERY_MS);
  try {
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (output += chunk));
    const code = await new Promise<number | string>((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (status, killedBy) => resolve(status ?? killedBy ?? 'unknown'));
    });
    if (code !== 0) throw new Error(`The run of ${spec.program} ended with ${code}.`);
    return { result: JSON.parse(output) as TrialRunResult, peakAnonBytes };
  } finally {
    clearInterval(sampling);
  }
}

function refuseMissingRows(
  program: string,
  tables: readonly SourceTable[],
  { rows, rowsKept }: TrialRunResult,
): void {
  const expected = tables.reduce((sum, table) => sum + table.rows, 0);
  if (rows !== expected || (rowsKept !== null && rowsKept !== expected)) {
    throw new Error(`${program} read ${rows} and kept ${rowsKept} of ${expected} rows.`);
  }
}

function bytesUnder(directory: string): number {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((bytes, entry) => bytes + statSync(join(entry.parentPath, entry.name)).size, 0);
}
