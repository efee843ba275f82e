import { StorageSyncError } from '../errors.js';
import { EXIT_DONE, EXIT_FAILED, exitCodeOf } from './exit-code.js';
import { Output, type OutputFlags } from './output.js';
import type { Secrets } from './secrets.js';
import { StopSignal } from './stop-signal.js';

/** What every command is given besides its flags. */
export interface CommandContext {
  readonly output: Output;
  readonly secrets: Secrets;
  /** Fires at the first Ctrl-C. */
  readonly signal: AbortSignal;
}

/** A command's work. It answers with the exit code; what it throws is reported, and gives the exit code too. */
export type Command = (context: CommandContext) => Promise<number>;

/** Runs a command's work between the signals, the streams and the exit code. Never throws. */
export async function runCommand(
  flags: OutputFlags,
  secrets: Secrets,
  command: Command,
): Promise<number> {
  const output = new Output(flags, secrets);
  using stop = new StopSignal(() =>
    output.note('Stopping at the next batch boundary. Press Ctrl-C again to stop at once.'),
  );
  const giveUp = (error: unknown): void => {
    void output.failure(error).finally(() => process.exit(EXIT_FAILED));
  };
  process.on('uncaughtException', giveUp);
  try {
    return await command({ output, secrets, signal: stop.signal });
  } catch (error) {
    // Whoever read stdout has seen enough, as in `export | head`.
    if (isBrokenPipe(error)) return EXIT_DONE;
    const stopped = stop.exitCode !== null && isAbort(error);
    await output.failure(error).catch(() => {});
    return stopped ? stop.exitCode : exitCodeOf(error);
  } finally {
    process.off('uncaughtException', giveUp);
  }
}

function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EPIPE';
}

function isAbort(error: unknown): boolean {
  return error instanceof StorageSyncError
    ? error.code === 'ABORTED'
    : error instanceof Error && error.name === 'AbortError';
}
