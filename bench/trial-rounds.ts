import { pathToFileURL } from 'node:url';
import { type DataServer, startDataServer } from './data-server.js';
import { type DataFile, ensureDataFile, type SourceTable } from './data/data-file.js';
import type { Figures } from './figures.js';
import type { Part } from './part.js';
import { runTrialProcess } from './trial-process.js';
import { rowsOf, type Trial, type TrialTarget } from './trials.js';

export interface RoundOptions {
  readonly rounds: number;
  /** Whether round 0 comes first. */
  readonly warmsUp: boolean;
  readonly seed: number;
  /** Where CPU profiles go, a folder for each run. */
  readonly profileDirectory?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One measured run. Round 0 warms up files and servers and does not count. */
export interface Run {
  readonly round: number;
  readonly target: TrialTarget;
  readonly figures: Figures;
  readonly parts?: readonly Part[];
}

/** The runs of a trial: each round runs every target once, so that what disturbs the machine disturbs them alike. */
export async function* runRounds(
  trial: Trial,
  { rounds, warmsUp, seed, profileDirectory, signal }: RoundOptions,
): AsyncGenerator<Run, void, void> {
  await using sources = new Sources(trial, seed);
  for (let round = warmsUp ? 0 : 1; round <= rounds; round++) {
    for (const target of trial.targets) {
      signal?.throwIfAborted();
      const { figures, parts } = await runTrialProcess({
        program: round === 0 ? (target.warmUp ?? target.program) : target.program,
        ...(await sources.sourceFor(target)),
        profileDirectory:
          profileDirectory === undefined || round === 0
            ? undefined
            : `${profileDirectory}/${trial.id}/${target.id}`,
        signal,
      });
      yield { round, target, figures, parts };
    }
  }
}

/** What the targets of a trial read: a file for each number of rows, or a server for each file and latency. */
class Sources implements AsyncDisposable {
  readonly #trial: Trial;
  readonly #files: ReadonlyMap<number, DataFile>;
  readonly #servers = new Map<string, DataServer>();

  constructor(trial: Trial, seed: number) {
    this.#trial = trial;
    this.#files = new Map(
      trial.targets
        .map((target) => rowsOf(trial, target))
        .map((rows) => [rows, ensureDataFile({ kind: trial.data, rows, seed })]),
    );
  }

  async sourceFor(
    target: TrialTarget,
  ): Promise<{ readonly url: string; readonly tables: readonly SourceTable[] }> {
    const { path, tables } = this.#files.get(rowsOf(this.#trial, target))!;
    const isFile = this.#trial.source === 'file';
    return { url: isFile ? pathToFileURL(path).href : await this.#serve(path, target), tables };
  }

  async #serve(path: string, { latencyMs = 0, bytesPerSecond }: TrialTarget): Promise<string> {
    const name = `${latencyMs} ${bytesPerSecond} ${path}`;
    let server = this.#servers.get(name);
    if (!server) {
      server = await startDataServer({ path, latencyMs, bytesPerSecond: bytesPerSecond ?? null });
      this.#servers.set(name, server);
    }
    return server.url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      Array.from(this.#servers.values(), (server) => server[Symbol.asyncDispose]()),
    );
  }
}
