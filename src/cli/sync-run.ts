import { SyncAbortedError } from '../errors.js';
import type { SyncProgress } from '../progress.js';
import type { SyncReport } from '../report.js';
import { StorageSync } from '../storage-sync.js';
import { COMMAND_NICENESS } from './settings.js';
import type { CommandContext } from './command-run.js';
import { EXIT_DONE, EXIT_SOURCE_UNAVAILABLE } from './exit-code.js';
import type { Output } from './output.js';
import { openProgressDisplay } from './progress-display.js';
import { reportText } from './report-text.js';
import { syncSettings, type SyncFlags } from './settings.js';
import { StopSignal } from './stop-signal.js';

export interface RunOptions {
  readonly signal: AbortSignal;
  readonly allowLoss: boolean | undefined;
  readonly onProgress: ((progress: SyncProgress) => void) | undefined;
}

/** What `sync` and `rebuild` share: settings, progress, signals, the report and the exit code. */
export async function runSync(
  flags: SyncFlags,
  { output, secrets, cleanups }: CommandContext,
  start: (storage: StorageSync, options: RunOptions) => PromiseLike<SyncReport>,
): Promise<number> {
  const options = await syncSettings(flags, secrets, process.env);
  await using storage = await StorageSync.open({ threadNiceness: COMMAND_NICENESS, ...options });
  cleanups.add(() => storage.close());
  using display = output.quiet ? null : openProgressDisplay(process.stderr);
  using stop = new StopSignal(() => {
    display?.[Symbol.dispose]();
    output.note('Stopping at the next batch boundary. Press Ctrl-C again to stop at once.');
  });
  try {
    const report = await start(storage, {
      signal: stop.signal,
      allowLoss: flags.allowLoss,
      onProgress: display ? (progress) => display.update(progress) : undefined,
    });
    display?.[Symbol.dispose]();
    await tell(report, output);
    // The source was away and the cache is served as it is.
    return report.mode === 'skipped' ? EXIT_SOURCE_UNAVAILABLE : EXIT_DONE;
  } catch (error) {
    if (!(error instanceof SyncAbortedError) || stop.exitCode === null) throw error;
    await output.failure(error);
    return stop.exitCode;
  }
}

async function tell(report: SyncReport, output: Output): Promise<void> {
  for (const warning of report.warnings) output.warn(warning);
  const failed = report.validation.checks.filter((check) => !check.passed);
  for (const { table, detail } of failed) output.warn(`validation of ${table}: ${detail}`);
  if (output.json) await output.document(report);
  else if (!output.quiet) await output.write(reportText(report));
}
