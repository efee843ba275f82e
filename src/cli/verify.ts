import { SyncAbortedError } from '../errors.js';
import { StorageSync } from '../storage-sync.js';
import { COMMAND_NICENESS } from './settings.js';
import type { VerifyLevel, VerifyReport } from '../verify/report.js';
import type { CommandContext } from './command-run.js';
import { EXIT_DIFFERENCES, EXIT_DONE } from './exit-code.js';
import { openProgressDisplay } from './progress-display.js';
import { syncSettings, type SyncFlags } from './settings.js';
import { StopSignal } from './stop-signal.js';
import { verifyText } from './verify-text.js';

export interface VerifyFlags extends SyncFlags {
  readonly level?: VerifyLevel;
  readonly repair?: boolean;
  readonly maxSourceRows?: number;
  readonly seed?: number;
}

/** `storage-sync verify`: holds the cache against the source. */
export async function verify(
  { tables, ...flags }: VerifyFlags,
  { output, secrets, cleanups }: CommandContext,
): Promise<number> {
  // The tables' definitions are those of the sync; which of them are looked at is another question.
  const options = await syncSettings(flags, secrets, process.env);
  await using storage = await StorageSync.open({ threadNiceness: COMMAND_NICENESS, ...options });
  cleanups.add(() => storage.close());
  using display = output.quiet ? null : openProgressDisplay(process.stderr);
  using stop = new StopSignal(() => {
    display?.[Symbol.dispose]();
    output.note('Stopping at the next page. Press Ctrl-C again to stop at once.');
  });
  let report: VerifyReport;
  try {
    report = await storage.verify({
      level: flags.level,
      tables,
      repair: flags.repair,
      maxSourceRows: flags.maxSourceRows,
      allowLoss: flags.allowLoss,
      seed: flags.seed,
      signal: stop.signal,
      onProgress: display ? (progress) => display.update(progress) : undefined,
    });
  } catch (error) {
    if (!(error instanceof SyncAbortedError) || stop.exitCode === null) throw error;
    await output.failure(error);
    return stop.exitCode;
  }
  display?.[Symbol.dispose]();
  for (const warning of report.warnings) output.warn(warning);
  if (output.json) await output.document(report);
  else if (!output.quiet) await output.write(secrets.redact(verifyText(report)));
  return report.left > 0 ? EXIT_DIFFERENCES : EXIT_DONE;
}
