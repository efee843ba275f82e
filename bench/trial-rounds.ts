import { pathToFileURL } from 'node:url';
import { type DataServer, startDataServer } from './data-server.js';
import { ensureDataFile } from './data/data-file.js';
import type { Figures } from './figures.js';
import type { Part } from './part.js';
import { runTrialProcess } from './trial-process.js';
import type { Trial, TrialTarget } from './trials.js';

export interface RoundOptions {
  readonly rounds: number;
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
  { rounds, seed, profileDirectory, signal }: RoundOptions,
): AsyncGenerator<Run, void, void> {
  const data = ensureDataFile({ kind: trial.data, rows: trial.rows, seed });
  await using sources = new Sources(trial, data.path);
  for (let round = 0; round <= rounds; round++) {
    for (const target of trial.targets) {
      signal?.throwIfAborted();
      const { figures, parts } = await runTrialProcess({
        program: target.program,
        url: await sources.urlFor(target),
        tables: data.tables,
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

/** Where the targets of a trial read: the file, or a server for each latency. */
class Sources implements AsyncDisposable {
  readonly #trial: Trial;
  readonly #path: string;
  readonly #servers = new Map<number, DataServer>();

  constructor(trial: Trial, path: string) {
    this.#trial = trial;
    this.#path = path;
  }

  async urlFor({ latencyMs = 0 }: TrialTarget): Promise<string> {
    if (this.#trial.source === 'file') return pathToFileURL(this.#path).href;
    let server = this.#servers.get(latencyMs);
    if (!server) {
      server = await startDataServer({ path: this.#path, latencyMs });
      this.#servers.set(latencyMs, server);
    }
    return server.url;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(
      Array.from(this.#servers.values(), (server) => server[Symbol.asyncDispose]()),
    );
  }
}
