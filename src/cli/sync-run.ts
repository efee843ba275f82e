import type { SyncProgress } from '../progress.js';
import type { SyncReport } from '../report.js';
import { StorageSync } from '../storage-sync.js';
import type { CommandContext } from './command-run.js';
import { EXIT_DONE, EXIT_SOURCE_UNAVAILABLE } from './exit-code.js';
import { openProgressDisplay } from './progress-display.js';
import { reportText } from './report-text.js';
import { syncSettings, type SyncFlags } from './settings.js';

export interface RunOptions {
  readonly signal: AbortSignal;
  readonly onProgress: (progress: SyncProgress) => void;
}

/** What `sync` and `rebuild` share: settings, progress, the report and the exit code. */
export async function runSync(
  flags: SyncFlags,
  { output, secrets, signal }: CommandContext,
  start: (storage: StorageSync, options: RunOptions) => PromiseLike<SyncReport>,
): Promise<number> {
  const options = await syncSettings(flags, secrets, process.env);
  await using storage = await StorageSync.open(options);
  const report = await withProgress(output.quiet, (onProgress) =>
    start(storage, { signal, onProgress }),
  );
  for (const warning of report.warnings) output.warn(warning);
  if (output.json) await output.document(report);
  else if (!output.quiet) await output.write(reportText(report));
  // The source was away and the cache is served as it is.
  return report.mode === 'skipped' ? EXIT_SOURCE_UNAVAILABLE : EXIT_DONE;
}

async function withProgress(
  quiet: boolean,
  work: (onProgress: (progress: SyncProgress) => void) => PromiseLike<SyncReport>,
): Promise<SyncReport> {
  if (quiet) return await work(() => {});
  using display = openProgressDisplay(process.stderr);
  return await work((progress) => display.update(progress));
}
